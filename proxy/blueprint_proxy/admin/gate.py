"""Who may ask the admin listener what: decided from a request's head, before any route sees it.

access.py says which path is for whom. A browser is kept out by three rules: Host must be a name we know (else 421: a
page that rebinds its own name to our address fails here), Origin must be our own (else 403), and a POST must be JSON
(else 415: a form cannot send that). Over a unix socket the asking process must be of this user, or root. A body is read
here, up to BODY_LIMIT, so that no route has to think of one that is too long or never ends.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
import re
from typing import TYPE_CHECKING

from blueprint_proxy.admin.access import REST, NoPlace, Places, Scope, rule_of
from blueprint_proxy.inbound.peers import credentials

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as AsgiScope

    from blueprint_proxy.admin.access import Rule
    from blueprint_proxy.admin.state import AdminState

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body. The longest is the start of a run with its input parameters: some kilobytes."""

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)
_LENGTH = re.compile(rb"[0-9]{1,19}")

_REASONS = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    410: "gone",
    413: "too_large",
    431: "too_large",
    500: "internal",
    503: "overloaded",
}

_PROTECTED = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]

_ASKED_FOR = {
    Scope.JOB: "the job token is needed, as Authorization: Bearer",
    Scope.OPERATOR: "the operator token is needed, as Authorization: Bearer",
}


def error_body(status: int, message: str, reason: str | None = None) -> dict[str, object]:
    """Give the JSON of an error, in the shape of the data plane's refusals; `reason` where the status has several."""
    return {"error": {"code": status, "reason": reason or _REASONS.get(status, "bad_request"), "message": message}}


class _Refused(Exception):
    """The answer to a request that goes no further."""

    def __init__(self, status: int, message: str, *fields: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.fields = fields


class _Left(Exception):
    """The asker went away before its request was whole."""


class Gate:
    """ASGI middleware: passes a request on, or answers it with 401, 403, 413, 415, 421 or 503."""

    def __init__(self, app: ASGIApp, state: AdminState) -> None:
        self._app = app
        self._state = state
        self._places = Places()
        self._users = frozenset({0, os.geteuid()})

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request; anything that is not HTTP (uvicorn's lifespan is off) passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            rule = self._judge(scope)
            with self._places.one_of(rule.share):
                whole = await _read(scope, receive)
                if rule.scope is not Scope.OPEN:
                    send = _protecting(send)
                elif scope["method"] == "HEAD":  # how some balancers probe; uvicorn keeps the body back by itself
                    scope = {**scope, "method": "GET"}
                await self._app(scope, whole, send)
        except _Refused as refused:
            await _answer(send, refused.status, str(refused), *refused.fields)
        except NoPlace as none:
            await _answer(send, 503, str(none), (b"retry-after", b"1"))
        except _Left:
            pass

    def _judge(self, scope: AsgiScope) -> Rule:
        """Give the rule of a request that may go on; _Refused else."""
        fields: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name, []).append(value)
        host = b",".join(fields.get(b"host", [])).decode("latin-1").lower()
        if not self._knows(host, scope):
            raise _Refused(421, "this listener is not known by that Host")
        if _local_address(scope) is None:
            connection = scope.get("state", {}).get("connection")
            peer = None if connection is None else credentials(connection)
            if peer is None or peer.uid not in self._users:
                raise _Refused(403, "only processes of the proxy's own user may use this socket")
        own_origin = f"{scope['scheme']}://{host}"
        if any(origin.decode("latin-1").lower() != own_origin for origin in fields.get(b"origin", [])):
            raise _Refused(403, "requests from web pages of another origin are refused")
        rule = rule_of(scope["method"], scope["path"])
        if rule.scope is not Scope.OPEN:
            self._authenticate(rule.scope, fields.get(b"authorization", []), scope)
        if rule is REST and scope["path"].endswith("\n"):  # a route's pattern would overlook it at the very end
            raise _Refused(404, "Not Found")
        kinds = [kind.partition(b";")[0].strip().lower() for kind in fields.get(b"content-type", [])]
        if scope["method"] == "POST" and kinds != [b"application/json"]:
            raise _Refused(415, "a POST must have the content type application/json")
        return rule

    def _authenticate(self, wanted: Scope, fields: list[bytes], scope: AsgiScope) -> None:
        operators, jobs = self._state.operator_token(), self._state.job_token()
        scheme, _, given = fields[0].partition(b" ") if len(fields) == 1 else (b"", b"", b"")
        given = given.strip() if scheme.lower() == b"bearer" else b""
        is_operator, is_job = _is(given, operators), _is(given, jobs)
        if is_operator or (is_job and wanted is Scope.JOB):
            return
        needed = jobs if wanted is Scope.JOB else operators
        if needed is None:
            if wanted is Scope.OPERATOR and jobs is not None:
                raise _Refused(403, "jobs have a token and operators have none: configure admin.token to open this")
            if not _is_local(scope):
                raise _Refused(
                    403, f"without a {wanted.value} token this is served on loopback addresses and unix sockets only"
                )
            return
        if is_job:
            raise _Refused(
                403, "the job token does not open this: " + _ASKED_FOR[wanted], _challenge(wanted, "insufficient_scope")
            )
        raise _Refused(401, _ASKED_FOR[wanted], _challenge(wanted, "invalid_token" if fields else None))

    def _knows(self, host: str, scope: AsgiScope) -> bool:
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


def _is(given: bytes, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(given, token.encode()) and bool(given)


def _challenge(wanted: Scope, error: str | None) -> tuple[bytes, bytes]:
    """The field that tells a client which token to show (RFC 6750)."""
    told = "" if error is None else f', error="{error}"'
    scope = f', scope="{wanted.value}"' if error == "insufficient_scope" else ""
    return b"www-authenticate", f'Bearer realm="blueprint-proxy {wanted.value}"{told}{scope}'.encode()


def _local_address(scope: AsgiScope) -> str | None:
    """Give our end's IP address; None for a unix socket, whose "port" is None in ASGI."""
    host, port = scope["server"]
    return None if port is None else str(host)


def _is_local(scope: AsgiScope) -> bool:
    """Whether the connection came to a loopback address or a unix socket. Our end of it cannot be forged."""
    address = _local_address(scope)
    return address is None or ipaddress.ip_address(address).is_loopback


async def _read(scope: AsgiScope, receive: Receive) -> Receive:
    """Take the request's body; gives a `receive` that has it whole. _Refused beyond BODY_LIMIT.

    Who declares too much is refused before a byte is taken. How long it may take is the connection's to limit.
    """
    declared = [value for name, value in scope["headers"] if name == b"content-length"]
    if any(_LENGTH.fullmatch(length) is None or int(length) > BODY_LIMIT for length in declared):
        raise _Refused(413, f"a request's body may have {BODY_LIMIT} bytes")
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        part = message.get("body", b"")
        length += len(part)
        if length > BODY_LIMIT:
            raise _Refused(413, f"a request's body may have {BODY_LIMIT} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            break
    whole: Message | None = {"type": "http.request", "body": b"".join(parts), "more_body": False}

    async def receive_whole() -> Message:
        nonlocal whole
        if whole is None:
            return await receive()
        message, whole = whole, None
        return message

    return receive_whole


def _protecting(send: Send) -> Send:
    """A `send` whose answers are kept by nobody and taken for nothing else than they say."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(field for field in _PROTECTED if field[0] not in present)]
        await send(message)

    return protected


async def _answer(send: Send, status: int, message: str, *fields: tuple[bytes, bytes]) -> None:
    body = json.dumps(error_body(status, message)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *_PROTECTED,
        *fields,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
