"""Calls to a server with one slot: they wait for their turn, and what is in the slot is the lane's, not the job's.

A job that leaves, or whose deadline passes, leaves its call where it is. Nothing cancels it: the server would go on
with it all the same, and hand its answer to the next call.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from blueprint_proxy.errors import ProxyError, Reason, Refusal
from blueprint_proxy.policies.lane import Ask, Kept, Lane, LaneFull
from blueprint_proxy.sweep import Limit
from blueprint_proxy.telemetry.events import CallJoined

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.policies.lane import Ticket
    from blueprint_proxy.rpc.exchange import RpcCall
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry


class _Seat:
    """A ticket's call, and what its caller waits for: its turn, then its end. `error` is set where it has no reply."""

    __slots__ = ("begun", "call", "ended", "send")

    def __init__(self, call: Call, send: Next) -> None:
        self.call = call
        self.send = send
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()


class Turns:
    """The lane of one server, for all jobs, connections and reloads of the configuration. `queue`: calls that wait."""

    def __init__(self, sweep: Sweep, telemetry: Telemetry, queue: int) -> None:
        self.lane: Lane[Reply] = Lane(queue)
        self._sweep = sweep
        self._now = sweep.now
        self._emit = telemetry.emit
        self._seats: dict[Ticket, _Seat] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def holder(self) -> tuple[Ticket, Call] | None:
        """What is in the slot."""
        ticket = self.lane.holder
        return None if ticket is None else (ticket, self._seats[ticket].call)

    async def take(self, call: Call, send: Next) -> Reply:
        """The call's reply, when it had its turn; what `send` raises. `send` is one attempt at the server."""
        lane = self.lane
        ask = Ask(caller_of(call), call.target.decode("ascii", "replace"), cast("bytes", call.body))
        try:
            got = lane.arrive(self._now(), ask)
        except LaneFull as full:
            raise Refusal(
                Reason.OVERLOADED, f"upstream {call.upstream}: its queue is full: {full}", sent=False
            ) from None
        if isinstance(got, Kept):
            self._emit(CallJoined(call.upstream, call.operation, call.request_id, "kept"))
            return cast("Reply", got.answer)
        seat = self._seats.get(got)
        if seat is None:
            seat = self._seats[got] = _Seat(call, send)
            self._fill()
        else:
            self._emit(CallJoined(call.upstream, call.operation, call.request_id, "in_flight"))
            call.sent = True
            seat.ended = asyncio.get_running_loop().create_future()
        try:
            return await self._wait(call, seat)
        except BaseException:
            self._leave(got, seat)
            raise

    def refuse_all(self, refusal: Callable[[Call], Refusal]) -> None:
        """Nobody waits any more: neither for a turn, nor for the call in the slot, which stays there."""
        for ticket in self.lane.waiting():
            seat = self._seats[ticket]
            if not seat.begun.done():
                seat.begun.set_exception(refusal(seat.call))
        holder = self.lane.holder
        if holder is not None and not holder.orphaned:
            seat = self._seats[holder]
            if not seat.ended.done():
                refused = refusal(seat.call)
                refused.sent = None if seat.call.repeatable else True
                seat.ended.set_exception(refused)

    async def quiet(self) -> None:
        """Wait until nothing is in the slot."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def end(self) -> None:
        """For the end of the process: what is still in the slot is left to the server."""
        for ticket in self.lane.waiting():
            self._seats[ticket].begun.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _wait(self, call: Call, seat: _Seat) -> Reply:
        if not seat.begun.done():
            limit = call.settings.concurrency.queue_timeout
            with Limit(self._sweep, self._now() + limit, partial(self._queued_too_long, call, limit)):
                await seat.begun
        patience = None if call.repeatable else call.settings.timeouts.attempt
        until = None if patience is None else self._now() + patience
        with Limit(self._sweep, until, partial(_out_of_patience, call, patience)):
            return await seat.ended

    def _fill(self) -> None:
        """Put the next call into the slot, where it is free."""
        while (ticket := self.lane.begin(self._now())) is not None:
            seat = self._seats[ticket]
            if seat.begun.done():  # refused, or its caller left, in this very moment
                del self._seats[ticket]
                self.lane.end(self._now(), ticket, None)
                continue
            seat.begun.set_result(None)
            self._task = asyncio.get_running_loop().create_task(self._attempt(ticket, seat))

    async def _attempt(self, ticket: Ticket, seat: _Seat) -> None:
        reply: Reply | None = None
        error: BaseException | None = None
        try:
            reply = await seat.send(seat.call)
        except ProxyError as failed:
            error = failed.with_traceback(None)
        except BaseException as defect:
            error = defect
            raise
        finally:
            del self._seats[ticket]
            self.lane.end(self._now(), ticket, reply)
            if not ticket.orphaned and not seat.ended.done():
                if reply is not None:
                    seat.ended.set_result(reply)
                elif isinstance(error, asyncio.CancelledError):
                    seat.ended.cancel()
                elif error is not None:
                    seat.ended.set_exception(error)
            if not isinstance(error, asyncio.CancelledError):
                self._fill()

    def _leave(self, ticket: Ticket, seat: _Seat) -> None:
        if seat.begun.done() and not seat.begun.cancelled():
            seat.begun.exception()  # nobody else will look at it
        if ticket in self._seats:
            self.lane.leave(ticket)
            if ticket.begun is None:
                del self._seats[ticket]
        elif seat.ended.done() and not seat.ended.cancelled() and seat.ended.exception() is None:
            self.lane.missed(self._now(), ticket, seat.ended.result())

    def _queued_too_long(self, call: Call, limit: float) -> Refusal:
        held = ""
        holder = self.holder
        if holder is not None and holder[0].begun is not None:
            held = f": {holder[1].operation} has held it for {self._now() - holder[0].begun:.3g} s"
        return Refusal(
            Reason.OVERLOADED,
            f"upstream {call.upstream}: waited {limit:g} s for the slot{held}",
            sent=False,
        )


class TakeTurns:
    """One call at a time goes further. What comes after this layer is not the job's to cancel."""

    def __init__(self, following: Next, *, turns: Turns) -> None:
        self._next = following
        self._turns = turns

    async def __call__(self, call: Call) -> Reply:
        """Wait for its turn, and for its end."""
        return await self._turns.take(call, self._next)


def caller_of(call: Call) -> str:
    """Whose calls are one queue, and whose repeat a call can be: the run's, else the connection's."""
    return f"peer {cast('RpcCall', call).peer}" if call.run is None else call.run.name


def _out_of_patience(call: Call, patience: float | None) -> Refusal:
    return Refusal(
        Reason.DEADLINE_EXCEEDED,
        f"upstream {call.upstream}: the simulator has been at {call.operation} for {patience:g} s and still is; "
        "a repeat from the same caller takes it over",
        sent=True,
        attempts=call.attempts,
        final=True,
    )
