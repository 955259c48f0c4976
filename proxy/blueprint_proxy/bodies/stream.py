"""A reply's body between the connection that brings it and the one that takes it.

Pushed, not pulled: bytes go on in the same turn of the loop in which they came, so that a server-sent event is never
held.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from blueprint_proxy.errors import JobLeft, ProxyError
from blueprint_proxy.http1.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable


HELD = 64 * 1024
"""Bytes that wait for a taker before the producer is paused: one read of the transport more may follow."""


class Flow(Protocol):
    """What a body can ask of the connection that brings it."""

    def pause_body(self) -> None:
        """No more for now; a read that is under way may still come."""

    def resume_body(self) -> None:
        """Go on."""

    def abandon_body(self) -> None:
        """Nobody wants the rest."""


class Sink(Protocol):
    """What takes a body. Exactly one of body_end and body_failed is called, last."""

    def body_data(self, data: bytes) -> None:
        """The next piece."""

    def body_end(self, trailers: Fields) -> None:
        """The body is whole."""

    def body_failed(self, error: ProxyError) -> None:
        """The body ended before it was whole."""


class BodyStream:
    """One body: fed by its producer, taken by one sink, ended once.

    `received` counts bytes so far. `error` is None for a body that came whole. Watchers hear of the end exactly once,
    with that error: UpstreamError when the upstream cut it short, JobLeft when the taker gave up, a Refusal when a
    limit ended it.
    """

    __slots__ = ("_chunks", "_flow", "_held", "_paused", "_sink", "_watchers", "error", "over", "received", "trailers")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._sink: Sink | None = None
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = False
        self._watchers: list[Callable[[ProxyError | None], None]] = []
        self.received = 0
        self.over = False
        self.error: ProxyError | None = None
        self.trailers = Fields()

    # the producer's side

    def feed(self, data: bytes) -> None:
        """The next piece. After the end it goes nowhere."""
        self.received += len(data)
        if self._sink is not None:
            self._sink.body_data(data)
            return
        if self.over:
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held > HELD and not self._paused:
            self.pause()

    def end(self, trailers: Fields) -> None:
        """The body is whole."""
        self.trailers = trailers
        self._finish(None)

    def fail(self, error: ProxyError) -> None:
        """The body will not come whole."""
        self._finish(error)

    # the taker's side

    def attach(self, sink: Sink) -> None:
        """Gives what is held to the sink, and everything after it as it comes."""
        over, paused = self.over, self._paused
        self._sink = None if over else sink
        self._paused = False  # what was paused for want of a sink; one that cannot keep up pauses anew, and stays so
        chunks, self._chunks, self._held = self._chunks, [], 0
        for data in chunks:
            sink.body_data(data)
        if over:
            self._tell(sink)
        elif paused and not self._paused:
            self.resume()

    def pause(self) -> None:
        """The sink cannot take more for now."""
        self._paused = True
        if not self.over:
            self._flow.pause_body()

    def resume(self) -> None:
        """The sink can take more again."""
        self._paused = False
        if not self.over:
            self._flow.resume_body()

    def abandon(self, error: ProxyError | None = None) -> None:
        """Nobody wants the rest: the producer is told; the sink hears only of an `error`, not of its own leaving."""
        if self.over:
            return
        self._flow.abandon_body()
        if error is None:
            self._sink = None
            error = JobLeft("the job closed its connection before it had the whole reply")
        self._finish(error)

    def when_over(self, watcher: Callable[[ProxyError | None], None]) -> None:
        """Calls `watcher` once, at the body's end or now; with its error."""
        if self.over:
            watcher(self.error)
        else:
            self._watchers.append(watcher)

    async def whole(self, limit: int) -> bytes | None:
        """The body in one piece, or None when it is longer than `limit` bytes and stays a stream; raises its error."""
        gathered = _Gatherer(self, limit)
        self.attach(gathered)
        try:
            fits = await gathered.settled
        except asyncio.CancelledError:
            self.abandon()
            raise
        if fits:
            return b"".join(gathered.chunks)
        return None

    def take_back(self, chunks: list[bytes]) -> None:
        """What a sink took and does not want to be the last taker of."""
        self._sink = None
        self._chunks = chunks
        self._held = sum(map(len, chunks))
        self.pause()

    def _finish(self, error: ProxyError | None) -> None:
        if self.over:
            return
        self.over = True
        self.error = error
        sink, self._sink = self._sink, None
        if sink is not None:
            self._tell(sink)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(error)

    def _tell(self, sink: Sink) -> None:
        if self.error is None:
            sink.body_end(self.trailers)
        else:
            sink.body_failed(self.error)


class _Gatherer:
    """Takes a body into memory up to a limit."""

    def __init__(self, stream: BodyStream, limit: int) -> None:
        self._stream = stream
        self._left = limit
        self.chunks: list[bytes] = []
        self.settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def body_data(self, data: bytes) -> None:
        self.chunks.append(data)
        self._left -= len(data)
        if self._left < 0 and not self.settled.done():
            self._stream.take_back(self.chunks)
            self.settled.set_result(False)

    def body_end(self, trailers: Fields) -> None:  # noqa: ARG002 -- a Sink; a body in one piece has no place for them
        if not self.settled.done():
            self.settled.set_result(True)

    def body_failed(self, error: ProxyError) -> None:
        if not self.settled.done():
            self.settled.set_exception(error)
