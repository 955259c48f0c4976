"""One attempt: what is left of the deadline goes up with it, and the kind says what its outcome means."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.policies.deadline import format_grpc_timeout, format_server_timeout
from blueprint_proxy.policies.hints import parse_retry_after, parse_retry_after_ms, retry_info
from blueprint_proxy.telemetry.tracing import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.upstreams.kind import Kind

WHOLE_FAILURE = 256 * 1024
"""Bytes of a failure's body that are read before deciding on a repeat: most are a few KiB, and hints stand in them."""

_TIMEOUTS = {b"grpc-timeout": format_grpc_timeout, b"x-server-timeout": format_server_timeout}


class MakeAttempt:
    """Gives a Reply with its verdict and hint; a failure's body is whole, to be read and still be the answer.

    With `relaying` it passes on as it comes. With `signed`, where a credential of ours is in the call, the Reply says
    whether the upstream refused it.
    """

    def __init__(
        self, following: Next, *, kind: Kind, now: Callable[[], float], relaying: bool = False, signed: bool = False
    ) -> None:
        self._next = following
        self._relaying = relaying
        self._signed = signed and not relaying
        self._judge = kind.judge
        self._rejections = kind.rejection_statuses
        self._rejects = kind.rejects_credential
        self._now = now

    async def __call__(self, call: Call) -> Reply:
        """Send it, with what is left of its deadline in the fields that stated one, as a new child of its trace."""
        if call.states_timeout and call.deadline is not None:
            call = call.with_headers(_with_what_is_left(call.headers, max(call.deadline - self._now(), 0.001)))
        if call.trace is not None and not self._relaying:
            call = call.with_headers(_as_child(call.headers, call.trace.traceparent()))
        reply = await self._next(call)
        if reply.status < 400:
            return reply
        verdict = reply.verdict = self._judge(call, reply)
        if self._signed and reply.status in self._rejections:
            verdict = await self._look_for_rejection(reply)
        if verdict is not Verdict.FATAL and not self._relaying:
            if not isinstance(reply.body, bytes):
                whole = await reply.body.whole(WHOLE_FAILURE)
                if whole is not None:
                    reply.body = whole
            reply.retry_after = hint(reply)
        return reply

    async def _look_for_rejection(self, reply: Reply) -> Verdict:
        """The verdict, which is not the upstream's failure when our credential is what it does not like.

        A body too long to read stays as it is, and the status alone decides.
        """
        if not isinstance(reply.body, bytes):
            whole = await reply.body.whole(WHOLE_FAILURE)
            if whole is not None:
                reply.body = whole
        read = reply.body if isinstance(reply.body, bytes) else b""
        if self._rejects(reply.status, plain_body(read, reply.headers.get(b"content-encoding"))):
            reply.rejected = True
            reply.verdict = Verdict.FATAL
        return reply.verdict


def hint(reply: Reply) -> float | None:
    """Seconds of patience that a failure asks for: the longest of its fields and its body's RetryInfo; None if none."""
    found: list[float | None] = []
    for name, value in reply.headers:
        lower = name.lower()
        if lower == b"retry-after":
            found.append(parse_retry_after(value, time.time()))
        elif lower == b"retry-after-ms":
            found.append(parse_retry_after_ms(value))
    if isinstance(reply.body, bytes):
        found.append(retry_info(plain_body(reply.body, reply.headers.get(b"content-encoding"))))
    return max((seconds for seconds in found if seconds is not None), default=None)


def plain_body(body: bytes, coding: bytes | None) -> bytes:
    """The body as it was before gzip or deflate, for reading only, up to WHOLE_FAILURE bytes; b"" for other codings."""
    if coding is None or coding.lower() == b"identity":
        return body
    if coding.lower() not in {b"gzip", b"x-gzip", b"deflate"}:
        return b""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, WHOLE_FAILURE)
    except zlib.error:
        return b""


def _as_child(headers: Fields, traceparent: bytes) -> Fields:
    return Fields.of((name, traceparent if name.lower() == HEADER else value) for name, value in headers)


def _with_what_is_left(headers: Fields, left: float) -> Fields:
    return Fields.of(
        (name, _TIMEOUTS[name.lower()](left)) if name.lower() in _TIMEOUTS else (name, value) for name, value in headers
    )
