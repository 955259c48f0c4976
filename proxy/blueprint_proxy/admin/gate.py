"""Who may ask the admin listener what: decided from a request's head, before any route sees it.

Open are /livez, /readyz and /metrics; every other path, known or not, needs the operator scope, so that a route added
later is closed until somebody opens it. A browser is kept out by three rules: Host must be a name we know (else 421: a
page that rebinds its own name to our address fails here), Origin must be our own (else 403), and a POST must be JSON
(else 415: a form cannot send that).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from blueprint_proxy.admin.state import AdminState

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)

_REASONS = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}


def error_body(status: int, message: str) -> dict[str, object]:
    """Give the JSON of an error, in the shape of the data plane's refusals."""
    return {"error": {"code": status, "reason": _REASONS.get(status, "bad_request"), "message": message}}


class Gate:
    """ASGI middleware: passes a request on, or answers it with 401, 403, 415 or 421."""

    def __init__(self, app: ASGIApp, state: AdminState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything that is not HTTP (uvicorn's lifespan is off) passes."""
        refusal = self._judge(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        body = json.dumps(error_body(status, message)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="blueprint-proxy operator"'))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _judge(self, scope: Scope) -> tuple[int, str] | None:
        """Give the refusal's status and message, or None."""
        fields: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name, []).append(value)
        host = b",".join(fields.get(b"host", [])).decode("latin-1").lower()
        if not self._knows(host, scope):
            return 421, "this listener is not known by that Host"
        own_origin = f"{scope['scheme']}://{host}"
        if any(origin.decode("latin-1").lower() != own_origin for origin in fields.get(b"origin", [])):
            return 403, "requests from web pages of another origin are refused"
        kinds = [kind.partition(b";")[0].strip().lower() for kind in fields.get(b"content-type", [])]
        if scope["method"] == "POST" and kinds != [b"application/json"]:
            return 415, "a POST must have the content type application/json"
        if scope["path"] in OPEN_PATHS:
            return None
        return self._authenticate(fields.get(b"authorization", []), scope)

    def _authenticate(self, fields: list[bytes], scope: Scope) -> tuple[int, str] | None:
        token = self._state.operator_token()
        if token is None:
            if _is_local(scope):
                return None
            return 403, "without an operator token this is served on loopback addresses and unix sockets only"
        scheme, _, given = fields[0].partition(b" ") if len(fields) == 1 else (b"", b"", b"")
        given = given.strip()
        if scheme.lower() == b"bearer" and given and hmac.compare_digest(given, token.encode()):
            return None
        return 401, "the operator token is needed, as Authorization: Bearer"

    def _knows(self, host: str, scope: Scope) -> bool:
        """Whether Host is ours. Over a unix socket any name is: no web page can reach one.

        The very address that the connection came in on is ours too: probes and scrapers that find a pod by its address
        send that, and a rebound name is never an address.
        """
        address = _local_address(scope)
        if address is None:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["v6"] or match["name"]
        return name in LOOPBACK_NAMES or name == address or name in self._state.allowed_hosts


def _local_address(scope: Scope) -> str | None:
    """Give our end's IP address; None for a unix socket, whose "port" is None in ASGI."""
    host, port = scope["server"]
    return None if port is None else str(host)


def _is_local(scope: Scope) -> bool:
    """Whether the connection came to a loopback address or a unix socket. Our end of it cannot be forged."""
    address = _local_address(scope)
    return address is None or ipaddress.ip_address(address).is_loopback
