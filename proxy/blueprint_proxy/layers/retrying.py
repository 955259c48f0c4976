"""Repeats failed attempts, where all three say yes: the operation, the body, and what is left of time and retries."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import Reason, Refusal, UpstreamError, UpstreamTruncated
from blueprint_proxy.policies.deadline import patience
from blueprint_proxy.policies.retry import Again, GiveUp, WhyNot, decide
from blueprint_proxy.telemetry.events import AttemptFailed, RetryAbandoned, RetryScheduled, Try, WouldHave

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.bodies.request import RequestBody
    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.telemetry.stream import Telemetry

_GIVEN_UP = frozenset({WhyNot.EXHAUSTED, WhyNot.DEADLINE, WhyNot.BUDGET})
"""Reasons of ours not to go on with a call that could have been repeated: the answer then says so."""
_OUT_OF_TURN = frozenset({Reason.BREAKER_OPEN, Reason.OVERLOADED, Reason.RATE_LIMITED})
"""Refusals of a further attempt, behind which the answer of an earlier one is worth more to the job."""


class RetryFailures:
    """Asks for admission anew for every attempt; gives the first good reply, or the last real answer.

    A reply of an attempt that failed is whole by then (layers/attempt.py reads it), so that it can still be the answer.
    One that was too large for that is let go before a repeat: it would hold its place and its connection through the
    wait.
    """

    def __init__(
        self, following: Next, *, telemetry: Telemetry, now: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now
        self._chance = chance

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Make attempts until one is good or there is a reason not to go on."""
        body = call.body
        return self._attempts(call) if isinstance(body, bytes) else self._attempts_with(call, body)

    async def _attempts_with(self, call: Call, body: RequestBody) -> Reply:
        try:
            return await self._attempts(call)
        finally:
            body.release()  # no further attempt will ask for it

    async def _attempts(self, call: Call) -> Reply:
        began = self._now()
        call.policies.budget.call(began)
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
                # Without its traceback, which holds this frame and with it the error: a cycle for every failure.
                error = upstream_error.with_traceback(None)
            except Refusal as refusal:
                if answer is not None and refusal.reason in _OUT_OF_TURN:
                    return _instead(call, refusal, answer)
                _complete(call, refusal, sent=sent)
                raise
            if reply is not None and (reply.verdict is Verdict.OK or reply.verdict is Verdict.FATAL):
                reply.attempts = attempt
                return reply
            sent = call.sent = sent or error is None or error.sent
            decision = self._judge(call, attempt, began, reply, error)
            if call.policies.observing:
                return _as_it_came(call, attempt, reply, error)
            if isinstance(decision, GiveUp):
                return _end(call, attempt, decision.why, reply, error, answer, sent=sent)
            if reply is not None:
                if isinstance(reply.body, bytes):
                    answer = reply
                else:
                    reply.body.abandon()
            await asyncio.sleep(decision.wait)
            began = self._now()

    def _judge(
        self, call: Call, attempt: int, began: float, reply: Reply | None, error: UpstreamError | None
    ) -> Again | GiveUp:
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
                None if call.trace is None else call.trace.id,
            )
        )
        policies = call.policies
        decision = decide(
            policies.retry,
            attempt=attempt,
            fault=fault,
            not_sent=not_sent,
            repeatable=call.repeatable and not (reply is not None and reply.repeat_forbidden),
            replayable=isinstance(call.body, bytes) or call.body.replayable,
            hint=hint,
            left=patience(call.deadline, now),
            spend=partial(policies.budget.spend, now),
            chance=self._chance,
        )
        wait = decision.wait if isinstance(decision, Again) and not policies.observing else None
        call.tries += (Try(str(fault), verdict.value, now - began, wait),)
        if isinstance(decision, GiveUp):
            self._emit(RetryAbandoned(call.upstream, call.operation, call.request_id, attempt, decision.why.value))
        elif policies.observing:
            self._emit(WouldHave(call.upstream, call.operation, call.request_id, "retry"))
        else:
            self._emit(
                RetryScheduled(call.upstream, call.operation, call.request_id, attempt, decision.wait, str(fault), hint)
            )
        return decision


def unreachable(call: Call, error: UpstreamError, *, sent: bool, final: bool = False) -> Refusal:
    """The refusal of a call that no attempt brought a whole answer for.

    `sent`: whether any of them may have reached the upstream. `final`: it could have been repeated and was given up.
    """
    tries = f" after {call.attempts} attempts" if call.attempts > 1 else ""
    return Refusal(
        Reason.UPSTREAM_TRUNCATED if isinstance(error, UpstreamTruncated) else Reason.UPSTREAM_UNREACHABLE,
        f"upstream {call.upstream}, {call.operation}: {error.message}{tries}",
        sent=_known(call, sent=sent),
        attempts=call.attempts,
        final=final,
    )


def _known(call: Call, *, sent: bool) -> bool | None:
    """What a Refusal's `sent` says: that a repeatable call may have been executed matters to nobody."""
    if not sent:
        return False
    return None if call.repeatable else True


def _instead(call: Call, refusal: Refusal, answer: Reply) -> Reply:
    """What an earlier attempt brought is worth more to the job than that there was no leave for another one."""
    if answer.retry_after is None:
        answer.retry_after = refusal.retry_after
    return _given_up(answer, call.attempts, Reason.ATTEMPTS_EXHAUSTED)


def _complete(call: Call, refusal: Refusal, *, sent: bool) -> None:
    """Says in a refusal from further in what the attempts before it did."""
    refusal.attempts = call.attempts
    if sent and refusal.sent is False:
        refusal.sent = _known(call, sent=True)  # this attempt was not sent; an earlier one was


def _as_it_came(call: Call, attempt: int, reply: Reply | None, error: UpstreamError | None) -> Reply:
    if reply is not None:
        reply.attempts = attempt
        return reply
    if error is None:
        raise AssertionError("an attempt ends with a reply or an error")
    raise unreachable(call, error, sent=error.sent) from error


def _end(
    call: Call,
    attempt: int,
    why: WhyNot,
    reply: Reply | None,
    error: UpstreamError | None,
    answer: Reply | None,
    *,
    sent: bool,
) -> Reply:
    """The last real answer, `reply` or the earlier `answer`, or a refusal that says what is known."""
    if reply is not None:
        if why not in _GIVEN_UP:
            return _as_it_came(call, attempt, reply, error)
        late = why is WhyNot.DEADLINE and reply.verdict is Verdict.THROTTLED and reply.retry_after is not None
        return _given_up(reply, attempt, Reason.RATE_LIMITED if late else Reason.ATTEMPTS_EXHAUSTED)
    if answer is not None:
        return _given_up(answer, attempt, Reason.ATTEMPTS_EXHAUSTED)
    if error is None:
        raise AssertionError("an attempt ends with a reply or an error")
    raise unreachable(call, error, sent=sent, final=why in _GIVEN_UP) from error


def _given_up(answer: Reply, attempts: int, reason: Reason) -> Reply:
    answer.error = reason.value
    answer.attempts = attempts
    return answer
