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

LONG_UPLOAD = 1024 * 1024
"""Bytes of a request body that may take long by themselves, so that time says nothing about the upstream."""

_OUTCOMES = {
    Verdict.OK: Outcome.SUCCESS,
    Verdict.FATAL: Outcome.SUCCESS,  # the caller's fault: the upstream is well enough to say so
    Verdict.RETRYABLE: Outcome.FAILURE,
    Verdict.UNKNOWN: Outcome.FAILURE,
    Verdict.NOT_SENT: Outcome.FAILURE,
    Verdict.THROTTLED: Outcome.UNKNOWN,  # the rate's business: the upstream is well, and busy
}


class BreakCircuits:
    """Refuses with breaker_open while the breaker is open. A permit is settled however the attempt ends.

    What gets past it is an attempt: it is counted on the call, and taken for sent until its failure says otherwise.
    `aged` False: nothing is seen of an attempt before its end, so that its age says nothing about the upstream.
    """

    def __init__(self, following: Next, *, telemetry: Telemetry, now: Callable[[], float], aged: bool = True) -> None:
        self._next = following
        self._aged = aged
        self._emit = telemetry.emit
        self._now = now

    async def __call__(self, call: Call) -> Reply:
        """Make one attempt with the breaker's leave."""
        breaker = call.policies.breaker
        try:
            permit = breaker.admit(self._now())
        except BreakerOpen as refused:
            if not call.policies.observing:
                raise breaker_open(call, refused.retry_after) from None
            self._emit(WouldHave(call.upstream, call.operation, call.request_id, Reason.BREAKER_OPEN.value))
            call.attempts += 1
            call.sent = True
            return await self._next(call)
        call.attempts += 1
        call.sent = True
        if not self._aged or (
            not isinstance(call.body, bytes) and not call.body.over and (call.body.length or LONG_UPLOAD) >= LONG_UPLOAD
        ):
            # A long upload is no hang: its idle and first-byte limits tell one from the other, the permit's age cannot.
            breaker.answered(permit, self._now())
        try:
            reply = await self._next(call)
        except UpstreamError:
            breaker.settle(permit, self._now(), Outcome.FAILURE)
            raise
        except BaseException as error:
            breaker.settle(permit, self._now(), Outcome.UNKNOWN)
            if isinstance(error, Refusal) and error.sent is False:
                call.attempts -= 1  # a layer further in refused it: no attempt was made
            raise
        body = reply.body
        if isinstance(body, bytes):
            breaker.settle(permit, self._now(), _OUTCOMES[reply.verdict])
        else:
            breaker.answered(permit, self._now())
            body.when_over(partial(self._settle, breaker, permit, reply))
        return reply

    def _settle(self, breaker: Breaker, permit: Permit, reply: Reply, error: ProxyError | None) -> None:
        outcome = _OUTCOMES[reply.verdict]  # only now: a stream of gRPC says at its end how it went
        if isinstance(error, UpstreamError):
            outcome = Outcome.FAILURE
        elif isinstance(error, JobLeft | Refusal) and outcome is Outcome.SUCCESS:
            outcome = Outcome.UNKNOWN  # how the rest would have come is not known; a failure's head has said enough
        breaker.settle(permit, self._now(), outcome)


def breaker_open(call: Call, retry_after: float | None) -> Refusal:
    """The refusal of an open breaker; `retry_after` is in seconds, None where only an operator closes it."""
    return Refusal(
        Reason.BREAKER_OPEN,
        f"upstream {call.upstream} has been failing or hanging and is left alone for now",
        retry_after=retry_after,
        sent=False,
    )
