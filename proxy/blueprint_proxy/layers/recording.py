"""Sees every call once, whatever happens inside: counts it, times it, and tells how it ended."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import JobLeft, ProxyError, Reason, Refusal
from blueprint_proxy.telemetry.events import CallFinished, CallRefused, ReplyTruncated

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.telemetry.stream import Telemetry

_OUTCOMES = {
    Verdict.OK: "ok",
    Verdict.FATAL: "client_error",
    Verdict.THROTTLED: "throttled",
    Verdict.RETRYABLE: "failed",
    Verdict.UNKNOWN: "failed",
    Verdict.NOT_SENT: "failed",
}


class RecordCalls:
    """Emits CallFinished when the last byte of the reply has gone, or when it is clear that it never will."""

    def __init__(self, following: Next, *, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now
        self.in_flight = 0

    async def __call__(self, call: Call) -> Reply:
        self.in_flight += 1
        try:
            reply = await self._next(call)
        except Refusal as refusal:
            self._refused(call, refusal)
            raise
        except ProxyError:
            self._finished(call, "cancelled", 0)
            raise
        except asyncio.CancelledError:
            self._finished(call, "cancelled", 0)
            raise
        body = reply.body
        if isinstance(body, bytes):
            self._finished(call, _OUTCOMES[reply.verdict], reply.status, reply, len(body))
        else:
            body.when_over(partial(self._over, call, reply))
        return reply

    def _over(self, call: Call, reply: Reply, error: ProxyError | None) -> None:
        received = 0 if isinstance(reply.body, bytes) else reply.body.received
        outcome = _OUTCOMES[reply.verdict]
        if isinstance(error, JobLeft):
            outcome = "cancelled"
        elif isinstance(error, Refusal):
            outcome = "deadline"
        elif error is not None:
            outcome = "truncated"
            self._emit(ReplyTruncated(call.upstream, call.operation, call.request_id, received))
        self._finished(call, outcome, reply.status, reply, received)

    def _refused(self, call: Call, refusal: Refusal) -> None:
        deadline = refusal.reason is Reason.DEADLINE_EXCEEDED
        self._emit(
            CallRefused(call.upstream, call.operation, call.request_id, refusal.reason.value, refusal.retry_after)
        )
        self.in_flight -= 1
        self._emit(
            CallFinished(
                call.upstream,
                call.operation,
                "deadline" if deadline else "refused",
                refusal.status or 0,
                refusal.reason.value,
                refusal.attempts,
                self._now() - call.arrived,
                call.request_id,
                call.run,
                _size(call),
                0,
                "proxy",
            )
        )

    def _finished(self, call: Call, outcome: str, status: int, reply: Reply | None = None, size: int = 0) -> None:
        self.in_flight -= 1
        self._emit(
            CallFinished(
                call.upstream,
                call.operation,
                outcome,
                status,
                reply.error if reply is not None else None,
                reply.attempts if reply is not None else 0,
                self._now() - call.arrived,
                call.request_id,
                call.run,
                _size(call),
                size,
                reply.source if reply is not None else "proxy",
            )
        )


def _size(call: Call) -> int:
    body = call.body
    return len(body) if isinstance(body, bytes) else body.received
