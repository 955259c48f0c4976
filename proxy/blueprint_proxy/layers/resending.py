"""When a failed call is sent to the simulator again: only after it ended, and only where that is provably harmless.

What was not sent may be sent, whatever it is. What was sent may have run: it is sent again if running twice is the same
as running once, and only into the life of the simulator in which it was sent.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import Reason, Refusal, UpstreamError
from blueprint_proxy.layers.simulator import LostInFlight
from blueprint_proxy.policies.deadline import patience
from blueprint_proxy.policies.retry import Again, GiveUp, WhyNot, decide
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.telemetry.events import AttemptFailed, RetryAbandoned, RetryScheduled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.rpc.exchange import RpcCall
    from blueprint_proxy.telemetry.stream import Telemetry

NOT_LOOKED = "nothing can be read back for it"


class Knowing(Protocol):
    """Whoever follows the simulator's life."""

    @property
    def epoch(self) -> int: ...

    def may_repeat(self, epoch: int) -> bool:
        """Whether what was sent in `epoch`, and may have run, may be sent again."""


class ResendSafely:
    """Makes attempts while they fail harmlessly; says what is known of a call that may have run.

    `ends` is the operation whose reply is lost when it worked. `read_back` asks the simulator what came of a call, in a
    sentence; None where there is nothing to ask.
    """

    def __init__(
        self,
        following: Next,
        *,
        knowing: Knowing,
        ends: str,
        read_back: Callable[[Call], Awaitable[str] | None],
        telemetry: Telemetry,
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._next = following
        self._knowing = knowing
        self._ends = ends
        self._read_back = read_back
        self._emit = telemetry.emit
        self._now = now
        self._chance = chance

    async def __call__(self, call: Call) -> Reply:
        """One attempt after the other; the last outcome."""
        call.policies.budget.call(self._now())
        attempt = 0
        unknowns = 0
        sent = False
        lost_in: int | None = None
        decision: Again | GiveUp
        while True:
            attempt += 1
            try:
                reply = await self._next(call)
            except LostInFlight as lost:
                sent, lost_in = True, lost.epoch
                if call.operation == self._ends:
                    return _done(attempt)
                cast("RpcCall", call).only_epoch = lost.epoch
                decision = await self._after_loss(call, attempt, lost.with_traceback(None))
            except UpstreamError as error:
                call.sent = sent = sent or error.sent
                decision = self._judge(call, attempt, error.fault.value, error.message, not_sent=not error.sent)
                if isinstance(decision, GiveUp):
                    raise _unreachable(call, error.message, sent=sent, final=decision.why is WhyNot.EXHAUSTED) from None
            except Refusal as refusal:
                if lost_in is not None and self._knowing.epoch != lost_in:
                    what = f"upstream {call.upstream}, {call.operation}: its connection was lost"
                    raise self._other_epoch(call, what, lost_in) from None
                refusal.attempts = call.attempts
                if sent and refusal.sent is False:
                    refusal.sent = None if call.repeatable else True
                raise
            else:
                reply.attempts = attempt
                unknown = isinstance(reply, RpcReply) and reply.ended.code is Code.UNKNOWN
                if reply.verdict in {Verdict.OK, Verdict.FATAL} or reply.repeat_forbidden or not unknown:
                    return reply
                unknowns += 1
                again = unknowns == 1 and _class(call) == "read_only" and self._knowing.may_repeat(self._knowing.epoch)
                decision = self._judge(
                    call, attempt, reply.status, "the simulator answered UNKNOWN", not_sent=False, repeatable=again
                )
                if isinstance(decision, GiveUp):
                    return reply
                sent, lost_in = True, self._knowing.epoch
                cast("RpcCall", call).only_epoch = lost_in
            await asyncio.sleep(decision.wait)

    async def _after_loss(self, call: Call, attempt: int, lost: LostInFlight) -> Again:
        """Leave to send it again, or the refusal that says what is known."""
        what = f"upstream {call.upstream}, {call.operation}: {lost.message}"
        if self._knowing.epoch != lost.epoch:
            raise self._other_epoch(call, what, lost.epoch)
        decision = self._judge(
            call,
            attempt,
            lost.fault.value,
            lost.message,
            not_sent=False,
            repeatable=call.repeatable and self._knowing.may_repeat(lost.epoch),
        )
        if isinstance(decision, Again):
            return decision
        looking = self._read_back(call)
        found = NOT_LOOKED if looking is None else await looking
        if self._knowing.epoch != lost.epoch:
            raise self._other_epoch(call, what, lost.epoch)
        if call.repeatable and looking is None:
            raise _unreachable(call, lost.message, sent=True, final=decision.why is WhyNot.EXHAUSTED)
        raise Refusal(
            Reason.MAYBE_EXECUTED,
            f"{what}; it may have run in epoch {lost.epoch}; {found}",
            sent=True,
            attempts=call.attempts,
            final=True,
        )

    def _other_epoch(self, call: Call, what: str, epoch: int) -> Refusal:
        now = self._knowing.epoch
        return Refusal(
            Reason.EPOCH_CHANGED if call.repeatable else Reason.MAYBE_EXECUTED,
            f"{what}; it was sent in epoch {epoch} and the simulator is another one now (epoch {now}), "
            "which is empty: call init_robot",
            sent=True,
            attempts=call.attempts,
            final=True,
        )

    def _judge(
        self,
        call: Call,
        attempt: int,
        fault: int | str,
        message: str,
        *,
        not_sent: bool,
        repeatable: bool = False,
    ) -> Again | GiveUp:
        verdict = Verdict.NOT_SENT if not_sent else Verdict.UNKNOWN
        self._emit(
            AttemptFailed(
                call.upstream,
                call.operation,
                call.request_id,
                attempt,
                str(fault),
                verdict.value,
                not not_sent,
                message,
            )
        )
        policies = call.policies
        now = self._now()
        decision = decide(
            policies.retry,
            attempt=attempt,
            fault=fault,
            not_sent=not_sent,
            repeatable=repeatable,
            replayable=True,
            hint=None,
            left=patience(call.deadline, now),
            spend=partial(policies.budget.spend, now),
            chance=self._chance,
        )
        if isinstance(decision, GiveUp):
            self._emit(RetryAbandoned(call.upstream, call.operation, call.request_id, attempt, decision.why.value))
        else:
            self._emit(
                RetryScheduled(call.upstream, call.operation, call.request_id, attempt, decision.wait, str(fault), None)
            )
        return decision


def _class(call: Call) -> str:
    return call.settings.operation_class or "unsafe"


def _done(attempts: int) -> RpcReply:
    """The process ends as soon as it has answered: that its answer did not arrive is what success looks like."""
    reply = RpcReply(Status(), (), b"")
    reply.source = "proxy"
    reply.attempts = attempts
    return reply


def _unreachable(call: Call, message: str, *, sent: bool, final: bool) -> Refusal:
    tries = f" after {call.attempts} attempts" if call.attempts > 1 else ""
    return Refusal(
        Reason.UPSTREAM_UNREACHABLE,
        f"upstream {call.upstream}, {call.operation}: {message}{tries}",
        sent=False if not sent else None if call.repeatable else True,
        attempts=call.attempts,
        final=final,
    )
