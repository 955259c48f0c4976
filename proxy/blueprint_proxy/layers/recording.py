"""Sees every call once, whatever happens inside: counts it, times it, and tells how it ended."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import JobLeft, Reason, Refusal
from blueprint_proxy.telemetry.events import CallFinished, CallRefused, ReplyTruncated

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.telemetry.stream import Telemetry

NEAR = 0.05
"""Seconds by which a job may leave before its deadline has passed here: it began to count a little earlier."""

_OUTCOMES = {
    Verdict.OK: "ok",
    Verdict.FATAL: "client_error",
    Verdict.THROTTLED: "throttled",
    Verdict.RETRYABLE: "failed",
    Verdict.UNKNOWN: "failed",
    Verdict.NOT_SENT: "failed",
}


class RecordCalls:
    """Emits CallFinished when the last byte of the reply has gone, or when it is clear that it never will.

    A refusal has an event of its own besides; a deadline that ran out has not, since it is the call's outcome already.
    """

    def __init__(self, following: Next, *, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now
        self.in_flight = 0

    async def __call__(self, call: Call) -> Reply:
        """Count the call in, and out exactly once."""
        self.in_flight += 1
        try:
            reply = await self._next(call)
        except Refusal as refusal:
            self._refused(call, refusal)
            raise
        except (JobLeft, asyncio.CancelledError):
            # a job whose own deadline has passed leaves; the moment of both is the same
            late = call.deadline is not None and call.deadline - self._now() < NEAR
            self._ended(call, "deadline" if late else "cancelled", 0, None, call.attempts)
            raise
        except BaseException:
            # A defect of ours. It goes on to the log; the call is over all the same.
            self._ended(call, "failed", 0, None, call.attempts)
            raise
        body = reply.body
        if isinstance(body, bytes):
            self._replied(call, reply, _OUTCOMES[reply.verdict], len(body))
        else:
            body.when_over(partial(self._over, call, reply))
        return reply

    def _over(self, call: Call, reply: Reply, error: ProxyError | None) -> None:
        received = 0 if isinstance(reply.body, bytes) else reply.body.received
        outcome = _OUTCOMES[reply.verdict]
        if isinstance(error, JobLeft):
            outcome = "cancelled"
        elif isinstance(error, Refusal):
            outcome = "deadline" if error.reason is Reason.DEADLINE_EXCEEDED else "refused"
        elif error is not None:
            outcome = "truncated"
            self._emit(ReplyTruncated(call.upstream, call.operation, call.request_id, received))
        self._replied(call, reply, outcome, received)

    def _refused(self, call: Call, refusal: Refusal) -> None:
        outcome = "deadline"
        if refusal.reason is not Reason.DEADLINE_EXCEEDED:
            outcome = "refused"
            self._emit(
                CallRefused(call.upstream, call.operation, call.request_id, refusal.reason.value, refusal.retry_after)
            )
        self._ended(call, outcome, refusal.status, refusal.reason.value, refusal.attempts)

    def _ended(self, call: Call, outcome: str, status: int, reason: str | None, attempts: int) -> None:
        """Record a call that had no reply."""
        self.in_flight -= 1
        run, deadline, trace = call.run, call.deadline, call.trace
        if run is not None:
            run.tally.count(outcome, attempts, _size(call), 0)
        self._emit(
            CallFinished(
                call.upstream,
                call.operation,
                outcome,
                status,
                reason,
                attempts,
                self._now() - call.arrived,
                call.request_id,
                None if run is None else run.name,
                _size(call),
                0,
                "proxy",
                call.repeatable,
                None if deadline is None else deadline - call.arrived,
                call.queued,
                None if trace is None else trace.id,
                call.tries,
            )
        )

    def _replied(self, call: Call, reply: Reply, outcome: str, size: int) -> None:
        self.in_flight -= 1
        run, deadline, trace = call.run, call.deadline, call.trace
        if run is not None:
            run.tally.count(outcome, reply.attempts, _size(call), size)
        self._emit(
            CallFinished(
                call.upstream,
                call.operation,
                outcome,
                reply.status,
                reply.error,
                reply.attempts,
                self._now() - call.arrived,
                call.request_id,
                None if run is None else run.name,
                _size(call),
                size,
                reply.source,
                call.repeatable,
                None if deadline is None else deadline - call.arrived,
                call.queued,
                None if trace is None else trace.id,
                call.tries,
            )
        )


def _size(call: Call) -> int:
    body = call.body
    return len(body) if isinstance(body, bytes) else body.received
