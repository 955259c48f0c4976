"""The transport: a Call as an HTTP/1.1 exchange on a pooled connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.bodies.request import RequestBody
from blueprint_proxy.outbound.connection import StaleConnection

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Reply
    from blueprint_proxy.outbound.pool import Pool


class Http1Transport:
    """Sends calls to one upstream.

    `authority` is its Host field, `base_path` what stands before every target.

    A call that meets a kept connection's end before any byte of a reply is sent once more on a fresh one, if it may be
    repeated: that is the connection's failure, not an attempt's (RFC 9112 §9.3.1).
    """

    def __init__(self, pool: Pool, *, authority: bytes, base_path: bytes) -> None:
        self._pool = pool
        self._base_path = base_path
        self._lines = b" HTTP/1.1\r\nHost: " + authority + b"\r\n"

    async def __call__(self, call: Call) -> Reply:
        connection = self._pool.take(repeatable=call.repeatable)
        if connection is not None:
            try:
                return await connection.exchange(call, self._head(call))
            except StaleConnection:
                if not call.repeatable or not (isinstance(call.body, bytes) or call.body.replayable):
                    raise
            except BaseException:
                connection.cancel(call)
                raise
        connection = await self._pool.connect(call.settings.timeouts.connect)
        try:
            return await connection.exchange(call, self._head(call))
        except BaseException:
            connection.cancel(call)
            raise

    def _head(self, call: Call) -> bytes:
        lines = [call.method.encode("ascii"), b" ", self._base_path, call.target, self._lines, call.headers.raw]
        body = call.body
        if isinstance(body, RequestBody):
            if body.length is None:
                lines.append(b"Transfer-Encoding: chunked\r\n")
            if body.expects_continue and not body.received:
                lines.append(b"Expect: 100-continue\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)
