"""Repeats attempts that failed, where all three say yes: the operation, the body, and the budget of time and retries."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import Reason, Refusal, UpstreamError
from blueprint_proxy.policies.deadline import left
from blueprint_proxy.policies.retry import Again, GiveUp, WhyNot, decide
from blueprint_proxy.telemetry.events import AttemptFailed, RetryAbandoned, RetryScheduled, WouldHave

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.telemetry.stream import Telemetry

_GIVEN_UP = {WhyNot.EXHAUSTED, WhyNot.DEADLINE, WhyNot.BUDGET, WhyNot.BODY_LOST}
"""Reasons of ours not to go on with a call that could have been repeated: the answer then says so."""


class RetryFailures:
    """Asks for admission anew for every attempt; gives the first good reply, or the last real answer with what was decided.

    A reply of an attempt that failed is whole by then (layers/attempt.py reads it), so that it can still be the answer.
    """

    def __init__(
        self, following: Next, *, telemetry: Telemetry, now: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now
        self._chance = chance

    async def __call__(self, call: Call) -> Reply:
        call.policies.budget.call(self._now())
        attempt = 0
        sent = False
        answer: Reply | None = None
        while True:
            attempt += 1
            error: UpstreamError | None = None
            reply: Reply | None = None
            try:
                reply = await self._next(call)
            except UpstreamError as upstream_error:
                error = upstream_error
            except Refusal as refusal:
                if refusal.reason is Reason.BREAKER_OPEN and answer is not None:
                    # Our own retries tripped it: what the upstream said is worth more to the job than that.
                    return _given_up(answer, attempt - 1)
                refusal.attempts = attempt - 1 if refusal.sent is not True else attempt
                raise
            if reply is not None and reply.verdict in {Verdict.OK, Verdict.FATAL}:
                reply.attempts = attempt
                if not isinstance(call.body, bytes):
                    call.body.release()
                return reply
            answer = reply or answer
            sent = sent or error is None or error.sent
            decision = self._judge(call, attempt, reply, error)
            if isinstance(decision, Again) and not call.policies.observing:
                await asyncio.sleep(decision.wait)
                continue
            return _end(call, attempt, decision, answer, error, sent=sent)

    def _judge(self, call: Call, attempt: int, reply: Reply | None, error: UpstreamError | None) -> Again | GiveUp:
        now = self._now()
        fault: int | str = reply.status if reply is not None else error.fault.value if error is not None else ""
        hint = reply.retry_after if reply is not None else None
        not_sent = error is not None and not error.sent
        verdict = reply.verdict if reply is not None else Verdict.NOT_SENT if not_sent else Verdict.UNKNOWN
        self._emit(
            AttemptFailed(
                call.upstream,
                call.operation,
                call.request_id,
                attempt,
                str(fault),
                verdict.value,
                not not_sent,
                error.message if error is not None else f"the upstream answered {fault}",
            )
        )
        policies = call.policies
        decision = decide(
            policies.retry,
            attempt=attempt,
            fault=fault,
            not_sent=not_sent,
            repeatable=call.repeatable,
            replayable=isinstance(call.body, bytes) or call.body.replayable,
            hint=hint,
            left=left(call.deadline, now),
            spend=partial(policies.budget.spend, now),
            chance=self._chance,
        )
        if isinstance(decision, GiveUp):
            self._emit(RetryAbandoned(call.upstream, call.operation, call.request_id, attempt, decision.why.value))
        elif policies.observing:
            self._emit(WouldHave(call.upstream, call.operation, call.request_id, "retry"))
        else:
            self._emit(
                RetryScheduled(call.upstream, call.operation, call.request_id, attempt, decision.wait, str(fault), hint)
            )
        return decision


def _end(
    call: Call, attempt: int, decision: Again | GiveUp, answer: Reply | None, error: UpstreamError | None, *, sent: bool
) -> Reply:
    """The last real answer, or a refusal that says what is known. `sent`: whether any attempt reached the upstream."""
    why = decision.why if isinstance(decision, GiveUp) else None
    if answer is not None:
        if error is not None or why in _GIVEN_UP:
            return _given_up(answer, attempt)
        answer.attempts = attempt
        return answer
    if error is None:
        raise AssertionError("an attempt ends with a reply or an error")
    tries = f" after {attempt} attempts" if attempt > 1 else ""
    maybe = None if call.repeatable else True
    raise Refusal(
        Reason.UPSTREAM_UNREACHABLE,
        f"upstream {call.upstream}, {call.operation}: {error.message}{tries}",
        sent=maybe if sent else False,
        attempts=attempt,
    ) from error


def _given_up(answer: Reply, attempts: int) -> Reply:
    throttled = answer.verdict is Verdict.THROTTLED and answer.retry_after is not None and attempts == 1
    answer.error = (Reason.RATE_LIMITED if throttled else Reason.ATTEMPTS_EXHAUSTED).value
    answer.attempts = attempts
    return answer
