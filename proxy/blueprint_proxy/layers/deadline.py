"""Keeps the caller's deadline: it covers every attempt, every wait between them, and the reply's body."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.sweep import Alarm, Limit, Sweep
from blueprint_proxy.telemetry.events import WouldHave

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.bodies.stream import BodyStream
    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.telemetry.stream import Telemetry


class KeepDeadline:
    """Refuses with deadline_exceeded, or breaks the body off, when the call's deadline has passed."""

    def __init__(self, following: Next, *, telemetry: Telemetry, sweep: Sweep) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._sweep = sweep

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Pass on a call without a deadline as it is; bound any other."""
        if call.deadline is None:
            return self._next(call)
        return self._observed(call, call.deadline) if call.policies.observing else self._within(call, call.deadline)

    async def _within(self, call: Call, deadline: float) -> Reply:
        if deadline <= self._sweep.now():
            raise self._exceeded(call, "before anything was sent")
        with Limit(self._sweep, deadline, partial(self._exceeded, call, "before the upstream replied")):
            reply = await self._next(call)
        body = reply.body
        if not isinstance(body, bytes) and not body.over:
            alarm = self._sweep.at(deadline, partial(self._break_off, call, body))
            body.when_over(partial(_disarm, alarm))
        return reply

    async def _observed(self, call: Call, deadline: float) -> Reply:
        """Only record that the deadline passed before the reply was whole."""
        would = WouldHave(call.upstream, call.operation, call.request_id, Reason.DEADLINE_EXCEEDED.value)
        alarm = self._sweep.at(deadline, partial(self._emit, would))
        try:
            reply = await self._next(call)
        except BaseException:
            alarm.cancel()
            raise
        if isinstance(reply.body, bytes):
            alarm.cancel()
        else:
            reply.body.when_over(partial(_disarm, alarm))
        return reply

    def _exceeded(self, call: Call, doing: str) -> Refusal:
        waited = self._sweep.now() - call.arrived
        run = call.run
        message = f"the call's deadline ran out after {waited:.3g} s {doing}"
        if run is not None and run.deadline == call.deadline:
            message = f"the deadline of run {run.name} has passed: {waited:.3g} s into this call, {doing}"
        return Refusal(
            Reason.DEADLINE_EXCEEDED,
            message,
            sent=False if not call.sent else None if call.repeatable else True,
            attempts=call.attempts,
            final=call.sent,
        )

    def _break_off(self, call: Call, body: BodyStream) -> None:
        body.abandon(self._exceeded(call, "in the middle of the reply's body"))


def _disarm(alarm: Alarm, _error: ProxyError | None) -> None:
    alarm.cancel()
