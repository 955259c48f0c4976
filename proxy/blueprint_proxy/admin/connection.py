"""One connection to the admin listener: uvicorn's, with the limits that it leaves to a proxy in front of it.

A head has a size, a request a time to be whole, an answer a time to be taken, and the connections are counted: a
new one beyond the count takes the place of the one that has done nothing for the longest time, so that a probe always
gets through however many idle connections jobs keep.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from blueprint_proxy.admin.gate import error_body

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's head. One that does not end is refused at most one read later."""

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of a whole request and its framing. One whose body was refused is read to here: its sender then sees why."""

REQUEST_TIME = 10.0
"""Seconds that a request may take from its first byte to its last, or a new connection to begin one."""

STALL_TIME = 30.0
"""Seconds that an answer may wait for its reader: an event stream's too, whose keep-alives would be read by then."""

MOST_CONNECTIONS = 512
"""Connections at a time: half of the 1024 files that a process may commonly have."""


class AdminConnection(HttpToolsProtocol):
    """A connection whose requests carry its socket, as `scope["state"]["connection"]`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.since = 0.0
        self._clock: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_message = False
        self._in_head = False
        self._size = 0
        self._refusal = 400, "this is not an HTTP/1.1 request for a path of this listener"

    @property
    def waits(self) -> bool:
        """Whether nothing is under way here: no request yet, or not a whole head of one, or all are answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": transport.get_extra_info("socket")}
        self._start_clock()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._size > HEAD_LIMIT:
            self._refuse(431, f"a request's head may have {HEAD_LIMIT} bytes")
        elif self._in_message and self._size > MESSAGE_LIMIT:
            self._refuse(413, f"a request may have {MESSAGE_LIMIT} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = self._in_head = True
        self._size = 0
        self._start_clock()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers come by the same way, and no route has a use for one
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_LIMIT:
            self._refusal = 431, f"a request's head may have {HEAD_LIMIT} bytes"
            raise ValueError(self._refusal[1])
        if not self.url.startswith(b"/") or self.parser.get_http_version() not in {"1.0", "1.1"}:
            raise ValueError(self._refusal[1])
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        self._in_message = False
        self._stop_clock()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_TIME, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls where the grammar is broken."""
        del msg  # ours says more
        self._refuse(*self._refusal)

    def leave(self) -> None:
        """Give up the connection for a newer one."""
        self.transport.close()

    def _make_room(self) -> None:
        idle = [one for one in self.connections if isinstance(one, AdminConnection) and one is not self and one.waits]
        if idle:
            min(idle, key=lambda one: one.since).leave()
        else:
            self._refuse(503, f"all {MOST_CONNECTIONS} connections of this listener are in use")

    def _start_clock(self) -> None:
        self._stop_clock()
        self.since = self.loop.time()
        self._clock = self.loop.call_later(REQUEST_TIME, self._too_slow)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        if self._in_message:
            self._refuse(408, f"a request must be whole within {REQUEST_TIME:g} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer and close; only close where this request has its answer already, or where it is another one's turn."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            silent = False
        elif self._in_message and not self._in_head:
            silent = cycle.response_started or bool(self.pipeline)
        else:  # what is read is the next request, and the cycle the one before
            silent = not cycle.response_complete
        if not silent:
            body = json.dumps(error_body(status, message)).encode()
            self.transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (STATUS_LINE[status], len(body), body)
            )
        self.transport.close()
