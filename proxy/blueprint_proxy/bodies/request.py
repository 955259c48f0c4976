"""A request's body on its way up: streamed to the attempt, and kept as long as it may have to be sent again.

What is kept stands in memory first and then in a Spool on disk, each up to its limit. Beyond them, or when the disk
fails, the body goes on without being kept: the call is then no longer repeatable, and `on_lost` says why.

An attempt takes the body with `start`. It first reads what is there already: memory, disk and overflow in that order.
Then it is live: each piece goes to it in the turn of the loop in which it came. The job is paused while somebody behind
it cannot keep up, so that no more than the limits and a few reads of a socket are held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.bodies.spool import Spool
from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke
from blueprint_proxy.http1.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blueprint_proxy.bodies.stream import Flow, Sink
    from blueprint_proxy.errors import ProxyError

WAITING = 64 * 1024
"""Bytes that wait for an attempt beyond what is kept, before the job is paused."""
MAX_BACKLOG = 1024 * 1024
"""Bytes on their way to the disk before the job is paused."""


class RequestBody:
    """One request body. `length` is its Content-Length, None when it is chunked; `received` counts bytes so far.

    `memory` and `spool` are the bytes that may be kept in each; both 0 keeps nothing. `on_lost(why, received)` is
    called at most once, when a body that was being kept no longer is. `expects_continue` says that the job waits for
    a 100. A body of more than `limit` bytes fails with the Refusal too_large.
    """

    def __init__(
        self,
        flow: Flow,
        length: int | None,
        *,
        memory: int = 0,
        spool: int = 0,
        directory: Path | None = None,
        on_lost: Callable[[str, int], None] | None = None,
        expects_continue: bool = False,
        limit: int | None = None,
    ) -> None:
        self.length = length
        self.expects_continue = expects_continue
        self._limit = limit
        self.received = 0
        self.over = False
        self._flow = flow
        self._trailers = Fields()
        self._error: ProxyError | None = None
        self._lost = memory <= 0 and (spool <= 0 or directory is None)
        self._on_lost = on_lost
        self._memory_left = memory
        self._spool_limit = spool
        self._directory = directory
        self._kept: list[bytes] = []
        self._spool: Spool | None = None
        self._overflow: list[bytes] = []
        self._overflow_size = 0
        self._sink: Sink | None = None
        self._taker = 0  # tells a disk read of an earlier attempt from the present one's
        self._started = self._live = self._sink_paused = self._reading = self._released = False
        self._piece = self._offset = 0

    @property
    def replayable(self) -> bool:
        """Whether an attempt can send it from its first byte: it is kept, or nobody has taken any of it."""
        return not self._lost or not self._started

    # the job's side

    def feed(self, data: bytes) -> None:
        """The next piece."""
        self.received += len(data)
        if self._limit is not None and self.received > self._limit:
            if not self.over:
                message = f"a request body of more than {self._limit} bytes, which is this upstream's limit"
                self.fail(Refusal(Reason.TOO_LARGE, message))
            return
        kept = not self._lost and not self._overflow and self._keep(data)
        if self._live and self._sink is not None:
            self._sink.body_data(data)
        elif not kept and not self._out_of_reach:
            self._overflow.append(data)
            self._overflow_size += len(data)
        if not self._live:
            self._advance()
        self._throttle()

    def end(self, trailers: Fields) -> None:
        """The body is whole."""
        self.over = True
        self._trailers = trailers
        if self._live and self._sink is not None:
            self._sink.body_end(trailers)
        else:
            self._advance()

    def fail(self, error: ProxyError) -> None:
        """It will never be whole: no attempt can send it any more, and what was kept can go."""
        if self._error is not None:
            return
        self.over = self._lost = self._started = True
        self._error = error
        sink, self._sink = self._sink, None
        self._live = False
        self._forget()
        if sink is not None:
            sink.body_failed(error)

    # the attempt's side

    def start(self, sink: Sink, *, paused: bool = False) -> None:
        """Sends the body to `sink` from its first byte. The sink may call pause, resume and stop."""
        if self._error is not None:
            sink.body_failed(self._error)
            return
        if not self.replayable:
            raise RuntimeError("the beginning of this request body is gone: ask `replayable` first")
        self._sink = sink
        self._taker += 1
        self._piece = self._offset = 0
        self._live = self._reading = False
        self._sink_paused = paused
        self._started = True
        self._advance()
        self._throttle()

    def stop(self) -> None:
        """The attempt takes no more: it ended, or the reply came before the body's end."""
        self._sink = None
        self._live = self._sink_paused = False
        if self._lost:
            self._forget()
        self._throttle()

    def pause(self) -> None:
        """The sink cannot take more for now."""
        self._sink_paused = True
        self._throttle()

    def resume(self) -> None:
        """The sink can take more again."""
        self._sink_paused = False
        self._advance()
        self._throttle()

    def release(self) -> None:
        """No other attempt will come: what was kept for one can go."""
        self._lost = self._started = self._released = True
        if self._live or self._sink is None:
            self._forget()
        self._throttle()

    @property
    def _between(self) -> bool:
        """Whether an attempt has ended and another may come: what cannot be kept waits for it, with the job paused."""
        return self._started and self._sink is None and not self._released

    @property
    def _out_of_reach(self) -> bool:
        """Whether no attempt will ever take what comes now: it is dropped, so that the job gets its sending done."""
        return self._lost and self._started and self._sink is None

    # what is kept

    def _keep(self, data: bytes) -> bool:
        if self._spool is None and len(data) <= self._memory_left:
            self._memory_left -= len(data)
            self._kept.append(data)
            return True
        size = self._spool.size if self._spool is not None else 0
        if self._directory is None or size + len(data) > self._spool_limit:
            if not self._between:
                self._lose("too_large")
            return False
        if self._spool is None:
            self._spool = Spool(self._directory, self._spool_failed)
            self._spool.on_written = self._written
        self._spool.append(data)
        return True

    def _lose(self, why: str) -> None:
        if self._lost:
            return
        self._lost = True
        if self._on_lost is not None:
            self._on_lost(why, self.received)
        if self._live or self._out_of_reach:
            self._forget()

    def _forget(self) -> None:
        self._kept = []
        self._overflow = []
        self._overflow_size = self._piece = 0
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _spool_failed(self, error: OSError, unwritten: bytes) -> None:
        live = self._live
        if not unwritten or not self._between:
            self._lose(f"spool_failed: {error.strerror or error}")
        if unwritten and not live and not self._out_of_reach:
            self._overflow.insert(0, unwritten)
            self._overflow_size += len(unwritten)
            self._advance()
        elif not unwritten and not live:
            self.fail(UpstreamBroke("what was kept of the request body cannot be read back", sent=True))
        self._throttle()

    # the way to an attempt that is not live yet

    def _advance(self) -> None:
        while self._sink is not None and not self._sink_paused and not self._live and not self._reading:
            if self._piece < len(self._kept):
                piece = self._kept[self._piece]
                self._piece += 1
                self._sink.body_data(piece)
            elif self._spool is not None and self._offset < self._spool.written:
                self._read_spool(self._taker)
            elif self._spool is not None and self._offset < self._spool.size:
                return  # the rest is on its way to the disk: _written comes back
            elif self._overflow:
                self._lose("too_large")  # it goes once, and is nowhere else
                piece = self._overflow.pop(0)
                self._overflow_size -= len(piece)
                self._sink.body_data(piece)
            else:
                self._go_live()

    def _go_live(self) -> None:
        self._live = True
        if self._lost:
            self._forget()
        if self.over and self._sink is not None:
            self._sink.body_end(self._trailers)

    def _read_spool(self, taker: int) -> None:
        def read(data: bytes) -> None:
            if taker != self._taker or self._sink is None:
                return
            self._reading = False
            self._offset += len(data)
            self._sink.body_data(data)
            self._advance()
            self._throttle()

        if self._spool is not None:
            self._reading = True
            self._spool.read(self._offset, read)

    def _written(self) -> None:
        self._advance()
        self._throttle()

    def _throttle(self) -> None:
        if self.over:
            return
        replaying = self._sink is not None and not self._live
        behind = self._overflow_size > (0 if self._started else WAITING)
        backlog = self._spool is not None and self._spool.backlog > MAX_BACKLOG
        if self._sink_paused or replaying or behind or backlog:
            self._flow.pause_body()
        else:
            self._flow.resume_body()
