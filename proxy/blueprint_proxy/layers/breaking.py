"""Asks the breaker for leave, and tells it how each attempt ended: at the end of the body, not at its head."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import JobLeft, Reason, Refusal, UpstreamError
from blueprint_proxy.policies.breaker import BreakerOpen, Outcome
from blueprint_proxy.telemetry.events import WouldHave

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.policies.breaker import Breaker, Permit
    from blueprint_proxy.telemetry.stream import Telemetry

_OUTCOMES = {
    Verdict.OK: Outcome.SUCCESS,
    Verdict.FATAL: Outcome.SUCCESS,  # the caller's fault: the upstream is well enough to say so
    Verdict.RETRYABLE: Outcome.FAILURE,
    Verdict.UNKNOWN: Outcome.FAILURE,
    Verdict.NOT_SENT: Outcome.FAILURE,
    Verdict.THROTTLED: Outcome.UNKNOWN,  # the rate's business: the upstream is well, and busy
}


class BreakCircuits:
    """Refuses with breaker_open while the breaker is open. A permit is settled however the attempt ends."""

    def __init__(self, following: Next, *, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now

    async def __call__(self, call: Call) -> Reply:
        breaker = call.policies.breaker
        try:
            permit = breaker.admit(self._now())
        except BreakerOpen as refused:
            if call.policies.observing:
                self._emit(WouldHave(call.upstream, call.operation, call.request_id, Reason.BREAKER_OPEN.value))
                return await self._next(call)
            raise Refusal(
                Reason.BREAKER_OPEN,
                f"upstream {call.upstream} has been failing or hanging and is left alone for now; nothing was sent",
                retry_after=refused.retry_after,
                sent=False,
            ) from None
        try:
            reply = await self._next(call)
        except UpstreamError:
            breaker.settle(permit, self._now(), Outcome.FAILURE)
            raise
        except BaseException:
            breaker.settle(permit, self._now(), Outcome.UNKNOWN)
            raise
        body = reply.body
        outcome = _OUTCOMES[reply.verdict]
        if isinstance(body, bytes):
            breaker.settle(permit, self._now(), outcome)
        else:
            breaker.answered(permit, self._now())
            body.when_over(partial(self._settle, breaker, permit, outcome))
        return reply

    def _settle(self, breaker: Breaker, permit: Permit, outcome: Outcome, error: ProxyError | None) -> None:
        if isinstance(error, UpstreamError):
            outcome = Outcome.FAILURE
        elif isinstance(error, JobLeft | Refusal):
            outcome = Outcome.UNKNOWN
        breaker.settle(permit, self._now(), outcome)
