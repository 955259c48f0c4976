"""The OpenAPI page for people: plain HTML made from the schema, without a script, a font or a picture from anywhere.

A page that can send requests would run somebody's script beside the orders to drain; this one is for reading, and
shows the command that asks.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
"""Nothing runs in the page and nothing is loaded, whatever a name in it looks like."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h2{margin:2.5rem 0 .3rem;font-size:1.1rem}code,pre{font:14px/1.45 ui-monospace,monospace}
pre{background:#f3f5f7;padding:.6rem .8rem;overflow:auto;border-radius:4px}
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}
.scope{font-weight:normal;color:#57606a}details{margin:.4rem 0}
@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#14171a}pre{background:#22272c}.scope{color:#9aa4ae}}
"""

_SCOPES = {0: "open", 1: "operator scope", 2: "job scope"}
"""By how many tokens open it (description.py)."""


def page(schema: dict[str, Any]) -> str:
    """Give the page of an OpenAPI schema."""
    info = schema["info"]
    title = f"{info['title']} {info['version']}: admin and job API"
    models = schema.get("components", {}).get("schemas", {})
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{escape(title)}</title><meta name=viewport content='width=device-width'><style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1><p>The same for programs: <a href=/openapi.json>/openapi.json</a>.</p><ul>",
    ]
    operations = [(method, path, op) for path, item in schema["paths"].items() for method, op in item.items()]
    parts += [
        f"<li><a href='#{escape(op['operationId'])}'><code>{method.upper()} {escape(path)}</code></a></li>"
        for method, path, op in operations
    ]
    parts.append("</ul>")
    parts += [_operation(method, path, op, models) for method, path, op in operations]
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any], models: dict[str, Any]) -> str:
    scope = _SCOPES[len(operation["security"])]
    words = (operation.get("description") or operation.get("summary", "")).replace("\n", " ")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    rows = "".join(
        f"<tr><td>{status}<td>{escape(answer['description'])}" for status, answer in operation["responses"].items()
    )
    good: dict[str, Any] = next(
        (answer for status, answer in operation["responses"].items() if status.startswith("2")), {}
    )
    replied = good.get("content", {}).get("application/json", {}).get("schema")
    return (
        f"<h2 id='{escape(operation['operationId'])}'><code>{method.upper()} {escape(path)}</code> "
        f"<span class=scope>{scope}</span></h2><p>{escape(words)}</p>"
        f"<pre>{escape(_command(method, path, scope, has_body=body is not None))}</pre>"
        f"{_model('Body', body, models)}{_model('Answer', replied, models)}<table>{rows}</table>"
    )


def _command(method: str, path: str, scope: str, *, has_body: bool) -> str:
    words = ["curl"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    if scope != "open":
        words.append('-H "Authorization: Bearer $TOKEN"')
    if has_body:
        words.append("-H 'Content-Type: application/json' -d '{...}'")
    return " ".join([*words, f"http://127.0.0.1:8901{path}"])


def _model(what: str, schema: dict[str, Any] | None, models: dict[str, Any]) -> str:
    if not schema:
        return ""
    shown = json.dumps(_resolved(schema, models, 0), indent=2, ensure_ascii=False)
    return f"<details><summary>{what}</summary><pre>{escape(shown)}</pre></details>"


def _resolved(schema: Any, models: dict[str, Any], depth: int) -> Any:
    """The schema with its references put in place, four deep, and without the titles that repeat the names."""
    if isinstance(schema, list):
        return [_resolved(item, models, depth) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and depth < 4:
        return _resolved(models.get(schema["$ref"].rpartition("/")[2], {}), models, depth + 1)
    return {
        key: _resolved(value, models, depth)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }
