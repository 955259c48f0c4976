"""Keeps the caller's deadline: it covers every attempt, every wait between them, and the reply's body."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.sweep import Alarm, Limit, Sweep, deadline_exceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.bodies.stream import BodyStream
    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.errors import ProxyError, Refusal


class KeepDeadline:
    """Refuses with deadline_exceeded, or breaks the body off, when the call's deadline has passed."""

    def __init__(self, following: Next, *, sweep: Sweep) -> None:
        self._next = following
        self._sweep = sweep

    def __call__(self, call: Call) -> Awaitable[Reply]:
        return self._next(call) if call.deadline is None else self._within(call, call.deadline)

    async def _within(self, call: Call, deadline: float) -> Reply:
        if deadline <= self._sweep.now():
            raise deadline_exceeded(0.0, doing="before anything was sent")
        with Limit(self._sweep, deadline, partial(self._exceeded, call)):
            reply = await self._next(call)
        body = reply.body
        if not isinstance(body, bytes) and not body.over:
            alarm = self._sweep.at(deadline, partial(self._break_off, call, body))
            body.when_over(partial(_disarm, alarm))
        return reply

    def _exceeded(self, call: Call) -> Refusal:
        return deadline_exceeded(self._sweep.now() - call.arrived, doing="before the upstream replied")

    def _break_off(self, call: Call, body: BodyStream) -> None:
        body.abandon(deadline_exceeded(self._sweep.now() - call.arrived, doing="in the middle of the reply's body"))


def _disarm(alarm: Alarm, _error: ProxyError | None) -> None:
    alarm.cancel()
