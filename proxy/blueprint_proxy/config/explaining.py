"""`blueprint-proxy explain`: each policy in force, where its value comes from, and why a default is what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.config.policy_values import show

if TYPE_CHECKING:
    from blueprint_proxy.config.configuration import Config
    from blueprint_proxy.config.upstream_settings import UpstreamSettings

WIDEST = 48
"""Characters to which a column is padded: one long value does not push all the others out of sight."""


def explain(config: Config, name: str, method: str | None = None, path: str | None = None, operation: str = "") -> str:
    """Return the table of upstream `name`, or of its `operation` sent as `method` to `path`. KeyError: unknown name.

    Without an operation, method and path the upstream's own values are shown, and its patterns are listed below them.
    """
    upstream = config.upstreams[name]
    one_call = bool(operation or method or path)
    items = (
        upstream.provenance(operation, method or "", (path or "").partition("?")[0])
        if one_call
        else upstream.own_values()
    )
    rows = [("url", str(upstream.url), upstream.origins["url"], "")]
    credential = "none" if upstream.credential is None else str(upstream.credential)
    rows.append(("credential", credential, upstream.origins["credential"], ""))
    rows += [(item.key, show(item.key, item.value), item.origin, item.reason) for item in items]
    title = f"{name} (kind {upstream.kind}{'' if upstream.served else ', not served yet'})"
    if one_call:
        title += ": " + " ".join(part for part in (operation, method, path) if part)
    lines = [title, *_table(rows)]
    if one_call:
        lines += _owners(upstream, operation, method or "", (path or "").partition("?")[0])
    else:
        lines += _patterns(upstream)
    return "\n".join(lines) + "\n"


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [min(WIDEST, max(len(row[column]) for row in rows)) for column in range(3)]
    return [
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].ljust(widths[2]), row[3]]).rstrip()
        for row in rows
    ]


def _owners(upstream: UpstreamSettings, operation: str, method: str, path: str) -> list[str]:
    owners = upstream.for_operation(operation, method, path).owners
    return [
        f"{policy} is shared by the operations of {pattern}, apart from the upstream's own"
        for policy, pattern in owners.items()
        if pattern
    ]


def _patterns(upstream: UpstreamSettings) -> list[str]:
    lines: list[str] = []
    for rule in upstream.rules:
        if rule.pattern is None:
            continue
        lines.append(f"operations {rule.pattern.text}")
        lines += _table(
            [(f"  {key}", show(key, setting.value), setting.origin, "") for key, setting in rule.settings.items()]
            or [("  nothing", "", "", "")]
        )
    return lines
