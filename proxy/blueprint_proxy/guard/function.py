"""One guarded function: a Call whose transport is the job itself.

The layers around it are those of a call that passes through the proxy. Innermost, where another call would be sent, the
job is handed a permit, runs its function, and tells how it ended. Whoever waits for that over HTTP waits for the
function's *turn*: the next permit, or the end.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from blueprint_proxy.calls import Call, Reply, Verdict
from blueprint_proxy.errors import Fault, JobLeft, Refusal, UpstreamBroke, UpstreamError, UpstreamUnreachable
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.policies.hints import LONGEST
from blueprint_proxy.sweep import GRAIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.upstreams.kind import Kind

UNTOLD = 600.0
"""Seconds that a permit stands where neither a deadline nor timeouts.attempt bounds it.

As long as a call without a deadline waits for a hint. It only bounds for how long a job that died keeps its place: one
whose functions take longer says so in `timeout_s`.
"""

_ERROR = re.compile(r"[A-Za-z_.]{1,64}(?=:|$)")

Outcome = Literal["success", "failure", "throttled", "rejected", "unknown"]


@dataclass(frozen=True, slots=True)
class Told:
    """How a job says that its function ended.

    `status` is the HTTP status that the function met, `retry_after` the seconds it was asked to wait. `sent` False:
    the request provably never left. `message` begins with the name of the error's class; the rest is not kept.
    """

    outcome: Outcome
    status: int | None = None
    retry_after: float | None = None
    sent: bool | None = None
    message: str = ""


class HandedOut(NamedTuple):
    """A permit. `expires_in` and `deadline_in` (None: no deadline) are seconds from now."""

    permit: str
    attempt: int
    expires_in: float
    deadline_in: float | None


class Ended(NamedTuple):
    """The call is over: with this refusal, or with this reply; with neither where the job did not tell the outcome."""

    refusal: Refusal | None = None
    reply: Reply | None = None


class NeverTold(UpstreamError):
    """A permit expired: as far as anybody knows its function hangs. It may have been sent."""

    fault = Fault.TIMEOUT

    def __init__(self, limit: float) -> None:
        super().__init__(f"the job did not tell within {limit:.3g} s how its function ended", sent=True)


class FunctionCall(Call):
    """A Call that the job makes itself. `attempt` hands out one permit and gives what the job then tells.

    A third mark is made on it: it is `repeatable` no more once nobody is left who would run it again.
    """

    __slots__ = ("attempt",)

    def __init__(self, attempt: Callable[[FunctionCall], Awaitable[Reply]], **given: Any) -> None:
        super().__init__(method="", target=b"/", headers=Fields(), body=b"", **given)
        self.attempt = attempt


def at_the_job(call: Call) -> Awaitable[Reply]:
    """The transport of guarded functions."""
    if not isinstance(call, FunctionCall):
        raise TypeError("only a guarded function is attempted by its job")
    return call.attempt(call)


class Function:
    """What is known of one guarded function from its first permit's request to its end.

    `out` is where permits are found by the settlements; this function's are in it while they are out.
    """

    __slots__ = ("_kind", "_out", "_settlement", "_sweep", "_turn", "_why", "run", "task", "upstream")

    def __init__(self, upstream: str, kind: Kind, run: Run | None, *, sweep: Sweep, out: dict[str, Function]) -> None:
        self.upstream = upstream
        self.run = run
        self.task: asyncio.Task[Reply] | None = None
        self._kind = kind
        self._sweep = sweep
        self._out = out
        self._why: Refusal | None = None
        self._settlement: asyncio.Future[Told] = sweep.loop.create_future()
        self._turn: asyncio.Future[HandedOut | Ended] = sweep.loop.create_future()

    def begin(self, pipeline: Awaitable[Reply]) -> asyncio.Task[Reply]:
        """Start its way through the layers; the task is kept, and the caller's to await in the end."""
        task = self.task = self._sweep.loop.create_task(_run(pipeline))
        task.add_done_callback(self._over)
        return task

    @property
    def has_turn(self) -> bool:
        """Whether `turn` gives its answer at once."""
        return self._turn.done()

    async def turn(self) -> HandedOut | Ended:
        """The next permit, or the end. Cancelled, because nobody waits for it any more, the function is over."""
        try:
            return await self._turn
        except asyncio.CancelledError:
            self.cancel(None)
            raise

    def settle(self, told: Told) -> None:
        """Take in how the attempt under way ended; its permit must have been taken out of `out`."""
        self._turn = self._sweep.loop.create_future()
        if not self._settlement.done():  # it is when the task has been cancelled and has not run since
            self._settlement.set_result(told)

    def cancel(self, why: Refusal | None) -> None:
        """End it: its place is given back, the breaker learns nothing. `why` is for who still waits for its turn."""
        self._why = why
        if self.task is not None:
            self.task.cancel()

    async def attempt(self, call: FunctionCall) -> Reply:
        """Hand out a permit; what the job tells, as a transport would say it. NeverTold when the permit expires."""
        now = self._sweep.now()
        limit, left = _bounds(call, now)
        permit = secrets.token_urlsafe(16)
        settlement = self._settlement = self._sweep.loop.create_future()
        alarm = self._sweep.at(now + limit, partial(self._expire, permit, limit))
        self._out[permit] = self
        self._tell(HandedOut(permit, call.attempts, limit, left))
        try:
            told = await settlement
        except NeverTold:
            call.repeatable = False
            raise
        finally:
            alarm.cancel()
            self._out.pop(permit, None)
        return _reply(told, call, self._kind)

    def _expire(self, permit: str, limit: float) -> None:
        if self._out.pop(permit, None) is not None and not self._settlement.done():
            self._settlement.set_exception(NeverTold(limit))

    def _tell(self, turn: HandedOut | Ended) -> None:
        if not self._turn.done():
            self._turn.set_result(turn)

    def _over(self, task: asyncio.Task[Reply]) -> None:
        if task.cancelled():
            self._tell(Ended(self._why))
            return
        error = task.exception()
        if error is None:
            self._tell(Ended(None, task.result()))
        elif isinstance(error, Refusal):
            self._tell(Ended(error))
        elif isinstance(error, JobLeft):
            self._tell(Ended())
        else:  # a defect of ours: who waits gets a 500, the log gets the whole of what happened
            self._sweep.loop.call_exception_handler(
                {"message": "a guarded function failed inside the proxy", "exception": error}
            )
            if not self._turn.done():
                self._turn.set_exception(error)
                self._turn.exception()  # said already, if nobody waits


async def _run(pipeline: Awaitable[Reply]) -> Reply:
    """A task takes a coroutine, and a layer gives any awaitable."""
    return await pipeline


def _bounds(call: FunctionCall, now: float) -> tuple[float, float | None]:
    """Seconds for which a permit stands, and those to the deadline. What is not enforced bounds nothing.

    A permit goes one grain before the deadline, so that it is the permit that ends and the breaker hears of a hang.
    """
    limit = call.settings.timeouts.attempt
    left = None
    if call.deadline is not None and call.settings.mode == "enforce":
        left = max(call.deadline - now, 0.0)
    if left is not None:
        limit = left - GRAIN if limit is None else min(limit, left - GRAIN)
    return UNTOLD if limit is None else max(limit, 0.0), left


def _reply(told: Told, call: Call, kind: Kind) -> Reply:
    """What a transport and the kind would have made of it; UpstreamError or JobLeft where that is no reply."""
    if told.outcome == "success":
        return _answered(told.status or 200, Verdict.OK)
    if told.outcome == "rejected":
        return _answered(told.status or 400, Verdict.FATAL)
    if told.outcome == "unknown":
        raise JobLeft("the job does not know how its function ended")
    hint = None if told.retry_after is None else min(max(told.retry_after, 0.0), LONGEST)
    if told.outcome == "throttled":
        return _answered(told.status or 429, Verdict.THROTTLED, hint)
    if told.status is not None and told.status >= 400:
        reply = _answered(told.status, Verdict.RETRYABLE, hint)
        reply.verdict = kind.judge(call, reply)
        return reply
    named = _ERROR.match(told.message)
    message = "the job's function failed" if named is None else f"the job's function failed: {named[0]}"
    if told.sent is False:
        raise UpstreamUnreachable(message)
    raise UpstreamBroke(message, sent=True)


def _answered(status: int, verdict: Verdict, retry_after: float | None = None) -> Reply:
    reply = Reply(status, Fields(), b"", source="job")
    reply.verdict = verdict
    reply.retry_after = retry_after
    return reply
