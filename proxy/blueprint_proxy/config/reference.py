"""The README's reference and the JSON Schema, both made from the models and the tables of defaults."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config.complaints import model_in
from blueprint_proxy.config.defaults import BUILT_IN_UPSTREAMS, BY_KIND, EVERY_KIND, Default
from blueprint_proxy.config.models import ConfigFile
from blueprint_proxy.config.policy_values import default_values, show
from blueprint_proxy.config.unbuilt import SERVED_KINDS, UNBUILT
from blueprint_proxy.config.upstream_models import OperationFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_DURATION_KEYS = {("drain", "grace"), ("secrets", "refresh")}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration file, for editors; `validate` knows more."""
    schema = ConfigFile.model_json_schema(by_alias=True, mode="validation")
    upstreams = schema["properties"]["upstreams"]
    names = upstreams.pop("patternProperties", None) or {".*": upstreams.pop("additionalProperties")}
    upstreams["patternProperties"] = {
        pattern: {"anyOf": [upstream, {"type": "null", "description": "removes a built-in upstream"}]}
        for pattern, upstream in names.items()
    }
    upstreams["additionalProperties"] = False
    schema["$defs"]["UpstreamFile"].pop("required", None)  # the built-in ones have a url already
    for owner in ("UpstreamFile", "OperationFile"):
        schema["$defs"][owner]["properties"]["credential"]["anyOf"].append({"const": "none"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_tidied(schema),
        "title": "Blueprint Proxy configuration",
    }


def _tidied(schema: Any) -> Any:
    """Drop what a reader of the file has no use for: titles of keys, and defaults that mean "not set"."""
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"title"} if isinstance(schema.get("title"), str) else set()
    if "default" in schema and schema["default"] is None:
        dropped.add("default")
    return {key: _tidied(value) for key, value in schema.items() if key not in dropped}


def reference() -> str:
    """Return Markdown: the keys of the file, then the policies with each kind's defaults and reasons."""
    parts = ["### Upstreams without a file", "", "| name | kind | url |", "|---|---|---|"]
    parts += [f"| `{name}` | {each['kind']} | {each['url']} |" for name, each in BUILT_IN_UPSTREAMS.items()]
    parts += ["", "### Keys", "", *_keys()]
    parts += ["", "### Policies of every kind", "", *_policies("http", EVERY_KIND)]
    for kind, defaults in BY_KIND.items():
        if defaults:
            later = "" if kind in SERVED_KINDS else " (not built yet)"
            parts += ["", f"### Kind {kind}{later}", "", *_policies(kind, defaults)]
    return "\n".join(parts) + "\n"


def _policies(kind: str, defaults: dict[str, Default]) -> Iterator[str]:
    values = default_values(kind)
    yield "| policy | default | reason |"
    yield "|---|---|---|"
    for key, default in defaults.items():
        yield f"| `{key}` | `{show(key, values[key])}` | {default.reason} |"


def _keys() -> Iterator[str]:
    yield "| key | default | notes |"
    yield "|---|---|---|"
    for path, field in _walk(ConfigFile, ()):
        default = _default(path, field)
        note = field.description or ""
        if ".".join(path[2:]) in EVERY_KIND and path[0] == "upstreams":
            default = "by kind, below"
        if any(row.value is None and _covers(row.path, path) for row in UNBUILT):
            note = "not built yet"
        yield f"| `{'.'.join(path)}` | {default} | {note} |"


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in model.model_fields.items():
        key = (*path, field.alias or name)
        inner = model_in(field.annotation)
        if inner is OperationFile:
            yield (*key, "PATTERN"), field
            for each in ("class", "unary"):
                yield (*key, "PATTERN", each), OperationFile.model_fields["class_" if each == "class" else each]
        elif inner is not None:
            mapping = typing.get_origin(field.annotation) is dict
            yield from _walk(inner, (*key, "NAME") if mapping else key)
        else:
            yield key, field


def _covers(row: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return len(row) <= len(path) and all(step in {"*", key} for step, key in zip(row, path, strict=False))


def _default(path: tuple[str, ...], field: FieldInfo) -> str:
    if path == ("state_dir",):
        return "`~/.local/state/blueprint-proxy`"
    value = field.get_default(call_default_factory=False)
    if field.is_required() or field.default_factory is not None or value is None or value == ():
        return ""
    if path in _DURATION_KEYS:
        return f"`{show('deadline', value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{show(path[-1], value)}`"
