"""Recognises an SDK's own repeat of a call that this proxy has given up on or refused, and answers it at once.

Our attempts and the SDK's would otherwise multiply. The first outcome stands while the SDK may still be repeating, or, where it
named a time to come back, until then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from blueprint_proxy.calls import Reply
from blueprint_proxy.errors import Refusal
from blueprint_proxy.telemetry.events import RepeatRecognised

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.calls import Call, Next
    from blueprint_proxy.telemetry.stream import Telemetry

REMEMBERED = 1024
STANDS = 120.0
"""Seconds: the deadline of google-cloud-storage's own retries."""

_Key = tuple[bytes, str, bytes]


class AnswerRepeats:
    """Remembers refusals and given-up answers by the SDK's invocation id, a bounded number of them."""

    def __init__(self, following: Next, *, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now
        self._outcomes: OrderedDict[_Key, tuple[float, Reply | Refusal]] = OrderedDict()

    def __call__(self, call: Call) -> Awaitable[Reply]:
        return self._next(call) if call.invocation is None else self._remembering(call, call.invocation)

    async def _remembering(self, call: Call, invocation: bytes) -> Reply:
        key = (invocation, call.method, call.target)
        known = self._outcomes.get(key)
        if known is not None:
            until, outcome = known
            if self._now() < until:
                self._emit(RepeatRecognised(call.upstream, call.operation, call.request_id))
                return _again(outcome)
            del self._outcomes[key]
        try:
            reply = await self._next(call)
        except Refusal as refusal:
            self._remember(key, refusal, refusal.retry_after)
            raise
        if reply.error is not None and isinstance(reply.body, bytes):
            self._remember(key, reply, reply.retry_after)
        return reply

    def _remember(self, key: _Key, outcome: Reply | Refusal, come_back: float | None) -> None:
        self._outcomes[key] = (self._now() + (STANDS if come_back is None else come_back), outcome)
        if len(self._outcomes) > REMEMBERED:
            self._outcomes.popitem(last=False)


def _again(outcome: Reply | Refusal) -> Reply:
    """The same outcome once more, with no attempt behind it."""
    if isinstance(outcome, Refusal):
        raise Refusal(
            outcome.reason,
            outcome.message,
            status=outcome.status,
            retry_after=outcome.retry_after,
            sent=outcome.sent,
        )
    reply = Reply(
        outcome.status, outcome.headers, outcome.body, reason=outcome.reason, source="proxy", framed=outcome.framed
    )
    reply.verdict, reply.error, reply.retry_after, reply.attempts = (
        outcome.verdict,
        outcome.error,
        outcome.retry_after,
        0,
    )
    return reply
