"""Leave to make an attempt: the rate first, then a place among those at the upstream.

A call that waits for a hint, a back-off or the rate holds no place, so that it keeps nobody else out. Nobody waits for
an upstream whose breaker is open: that refusal is at once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.layers.breaking import breaker_open
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.policies.concurrency import Place
from blueprint_proxy.policies.deadline import patience
from blueprint_proxy.sweep import Limit
from blueprint_proxy.telemetry.events import RateChanged, WouldHave

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.policies.concurrency import Concurrency
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry

LOOK = 0.1
"""Seconds between two looks of a queued call at the breaker."""
SPREAD = 0.25
"""Seconds over which the waiters of a hold come back where no rate spaces them."""

_SHUT = frozenset({State.OPEN, State.FORCED_OPEN})


class _Ticket:
    """A call in the queue: its turn, and the era of the place that it was handed."""

    __slots__ = ("era", "turn")

    def __init__(self) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.era = -1


class AdmitAttempts:
    """Waits for the rate and for a place, within the call's deadline; refuses with rate_limited or overloaded."""

    def __init__(self, following: Next, *, telemetry: Telemetry, sweep: Sweep, chance: Callable[[], float]) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._sweep = sweep
        self._now = sweep.now
        self._chance = chance

    async def __call__(self, call: Call) -> Reply:
        """Make one attempt when its turn has come; its place is free again at the end of the reply's body."""
        policies = call.policies
        concurrency = policies.concurrency
        placed = True
        era = concurrency.era
        if policies.observing:
            placed = self._observe(call)
        else:
            wait = policies.rate.reserve(self._now())
            if wait > 0.0:
                await self._wait_for_rate(call, wait)
            if concurrency.limit is None or concurrency.active < concurrency.limit:
                concurrency.enter(None)
                era = concurrency.era
            else:
                era = await self._queue(call, concurrency)
        try:
            reply = await self._next(call)
            self._learn(call, reply)
        except BaseException as error:
            if placed:
                _leave(concurrency, era)
            if isinstance(error, Refusal) and error.sent is False:
                policies.rate.give_back(self._now())
            raise
        if not placed:
            return reply
        if isinstance(reply.body, bytes):
            _leave(concurrency, era)
        else:
            reply.body.when_over(partial(_left, concurrency, era))
        return reply

    def _observe(self, call: Call) -> bool:
        """Record what would have been decided; nobody waits. Whether the call has a place that must be given back."""
        policies = call.policies
        now = self._now()
        if policies.rate.reserve(now) > 0.0:
            policies.rate.give_back(now)
            self._emit(WouldHave(call.upstream, call.operation, call.request_id, Reason.RATE_LIMITED.value))
        concurrency = policies.concurrency
        if concurrency.limit is None or concurrency.active < concurrency.limit:
            concurrency.enter(None)
            return True
        self._emit(WouldHave(call.upstream, call.operation, call.request_id, "queue"))
        return False

    async def _wait_for_rate(self, call: Call, wait: float) -> None:
        rate = call.policies.rate
        since = self._now()
        try:
            while wait > 0.0:
                now = self._now()
                _refuse_while_open(call, now)
                spare = _spare(call, wait, now)
                spread = min(SPREAD, wait, spare / 2) if rate.rate is None else 0.0
                await asyncio.sleep(wait + self._chance() * spread)
                wait = rate.reserve(self._now()) if rate.held_for(self._now()) > 0.0 else 0.0
        except BaseException:
            rate.give_back(self._now())
            raise
        finally:
            call.queued += self._now() - since

    async def _queue(self, call: Call, concurrency: Concurrency) -> int:
        """Wait for a place; the era it belongs to, which may be over by the time that the call wakes up."""
        since = self._now()
        try:
            _refuse_while_open(call, since)
            return await self._wait_for_place(call, concurrency)
        except BaseException:
            call.policies.rate.give_back(self._now())
            raise
        finally:
            call.queued += self._now() - since

    async def _wait_for_place(self, call: Call, concurrency: Concurrency) -> int:
        ticket = _Ticket()
        place = concurrency.enter(ticket)
        if place is Place.ADMITTED:
            return concurrency.era
        if place is Place.FULL:
            raise Refusal(
                Reason.OVERLOADED,
                f"upstream {call.upstream}: {concurrency.active} calls are there and {concurrency.queued} wait, "
                "which is its limit",
                sent=False,
            )
        limit = call.settings.concurrency.queue_timeout
        self._look(call, ticket)
        try:
            with Limit(self._sweep, self._now() + limit, partial(_queue_timeout, call, limit)):
                await ticket.turn
        except BaseException:
            if not concurrency.withdraw(ticket):
                _leave(concurrency, ticket.era)
            raise
        return ticket.era

    def _look(self, call: Call, ticket: _Ticket) -> None:
        """Takes a waiting call out of the queue when the breaker opens: those it waits for may be hanging."""
        if ticket.turn.done():
            return
        try:
            _refuse_while_open(call, self._now())
        except Refusal as refusal:
            ticket.turn.set_exception(refusal)
        else:
            self._sweep.at(self._now() + LOOK, partial(self._look, call, ticket))

    def _learn(self, call: Call, reply: Reply) -> None:
        rate = call.policies.rate
        if reply.verdict is Verdict.THROTTLED:
            now = self._now()
            before = (rate.rate, rate.held_for(now))
            rate.throttled(now, reply.retry_after)
            after = (rate.rate, rate.held_for(now))
            if after != before:
                self._emit(RateChanged(call.upstream, rate.rate, rate.held_for(now)))
        elif rate.rate is not None and reply.verdict is Verdict.OK:
            slowed = rate.rate
            rate.succeeded(self._now())
            # On its way up it moves with every success; that it is whole again is the news.
            if rate.rate != slowed and rate.rate == call.settings.rate.per_second:
                self._emit(RateChanged(call.upstream, rate.rate, 0.0))


def _refuse_while_open(call: Call, now: float) -> None:
    breaker = call.policies.breaker
    if breaker.state(now) in _SHUT:
        raise breaker_open(call, breaker.open_left(now) or None)


def _spare(call: Call, wait: float, now: float) -> float:
    """Seconds that a wait leaves of the call's patience; Refusal where it leaves none."""
    remaining = patience(call.deadline, now)
    if wait < remaining:
        return remaining - wait
    raise Refusal(
        Reason.RATE_LIMITED,
        f"upstream {call.upstream} asked for patience: the next call may go in {wait:.3g} s, "
        f"and this one may wait {remaining:.3g} s",
        retry_after=wait,
        sent=False,
    )


def _leave(concurrency: Concurrency, era: int) -> None:
    """Give the place to the next in the queue who still wants it."""
    ticket = concurrency.leave(era)
    if isinstance(ticket, _Ticket):
        ticket.era = era
        if not ticket.turn.done():
            ticket.turn.set_result(None)


def _left(concurrency: Concurrency, era: int, _error: ProxyError | None) -> None:
    _leave(concurrency, era)


def _queue_timeout(call: Call, limit: float) -> Refusal:
    return Refusal(
        Reason.OVERLOADED,
        f"upstream {call.upstream}: waited {limit:g} s for a place among its calls",
        sent=False,
    )
