"""What one key alone cannot show: listeners and tokens, urls and kinds, an upstream that is the proxy itself.

These checks run on the data, each on the parts that can be read, so that one mistake does not hide another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config.addresses import RPC_KINDS, SCHEMES, Address, UpstreamUrl, parse_address, parse_url, reaches
from blueprint_proxy.config.models import UPSTREAM_NAME, ListenFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from blueprint_proxy.config.reading import KeyPath

Finding = tuple["KeyPath", str]
"""A key path and what is wrong with it."""


def listeners_of(data: Mapping[str, Any]) -> dict[str, Address]:
    """Return the listeners that can be read."""
    given = data.get("listen")
    found: dict[str, Address] = {}
    for name in ListenFile.model_fields:
        value = given.get(name) if isinstance(given, dict) else None
        try:
            found[name] = getattr(ListenFile(), name) if value is None else parse_address(value)
        except ValueError:
            continue
    return found


def check_listeners(data: Mapping[str, Any], tokens: Mapping[str, bool]) -> Iterator[Finding]:
    """Check that addresses which others can reach have TLS and a token, and that no two are the same.

    `tokens` says of jobs and admin whether they have one.
    """
    listeners = listeners_of(data)
    seen: dict[Address, str] = {}
    for name, address in listeners.items():
        path = ("listen", name)
        if (address.unix is not None or address.port) and address in seen:
            yield path, f"is also listen.{seen[address]}"
        seen.setdefault(address, name)
        if address.is_private:
            continue
        scope = "admin" if name == "admin" else "jobs"
        missing = [] if data.get("tls") is not None else ["tls"]
        if not tokens[scope]:
            missing.append(f"{scope}.token")
        if missing:
            yield path, f"is not a loopback address, which needs {' and '.join(missing)}"


def check_upstreams(
    upstreams: Mapping[str, Any], listeners: Mapping[str, Address], unknown_kinds: AbstractSet[str] = frozenset()
) -> Iterator[Finding]:
    """Check names, urls of their kind, and loops. Paths begin at the upstream's name.

    `unknown_kinds`: upstreams whose kind was refused already, so that nothing can be said of their urls' schemes.
    """
    for name, upstream in upstreams.items():
        if name.startswith("@") or not re.match(UPSTREAM_NAME, name) or name in {".", ".."}:
            yield (name,), "is not a name for an upstream: letters, digits and . _ - only"
        if not isinstance(upstream, dict):
            continue
        url = _readable_url(upstream.get("url"))
        if url is None:
            continue
        kind = upstream.get("kind", "http")
        schemes = SCHEMES.get(kind) if isinstance(kind, str) else None
        if schemes is not None and name not in unknown_kinds and url.scheme not in schemes:
            known = ", ".join("unix:" if scheme == "unix" else f"{scheme}://" for scheme in schemes)
            yield (name, "url"), f"is not a url of kind {kind}: it takes {known}"
        if kind in RPC_KINDS and url.base_path:
            yield (name, "url"), f"must not have a path: kind {kind} has no use for one"
        yield from _keys_of_other_kinds(name, kind, upstream)
        for listener, address in listeners.items():
            if reaches(url, address):
                yield (name, "url"), f"is this proxy's own listener (listen.{listener}): calls would go in circles"


def _keys_of_other_kinds(name: str, kind: object, upstream: Mapping[str, Any]) -> Iterator[Finding]:
    if kind in RPC_KINDS:
        return
    only = f"is for kinds {' and '.join(sorted(RPC_KINDS))}"
    if "message_limit" in upstream:
        yield (name, "message_limit"), only
    operations = upstream.get("operations")
    for pattern, keys in operations.items() if isinstance(operations, dict) else ():
        if isinstance(keys, dict) and "unary" in keys:
            yield (name, "operations", pattern, "unary"), only


def _readable_url(value: object) -> UpstreamUrl | None:
    try:
        return parse_url(value)
    except ValueError:
        return None
