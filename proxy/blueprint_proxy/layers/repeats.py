"""Recognises an SDK's own repeat of a call that this proxy has given up on or refused, and answers it at once.

Our attempts and the SDK's would otherwise multiply. The first outcome stands while the SDK may still be repeating, or,
where it named a time to come back, until then.
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
LARGEST_MEMORY = 4 * 1024 * 1024
"""Bytes of targets and answers remembered together: a failure's body is a few hundred bytes, and may be 256 KiB."""
STANDS = 120.0
"""Seconds: the deadline of google-cloud-storage's own retries."""

_Key = tuple[bytes, str, bytes, bytes | None]


class AnswerRepeats:
    """Remembers refusals and given-up answers by the SDK's invocation id, a bounded number of them.

    The range of a chunk belongs to the key: an upload's chunks and status queries all carry one id to one address.
    """

    def __init__(self, following: Next, *, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._next = following
        self._emit = telemetry.emit
        self._now = now
        self._outcomes: OrderedDict[_Key, tuple[float, Reply | Refusal, int]] = OrderedDict()
        self._size = 0

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Pass on what no SDK has marked, and what is only observed: there nothing is given up by us."""
        if call.invocation is None or call.policies.observing:
            return self._next(call)
        return self._remembering(call, call.invocation)

    async def _remembering(self, call: Call, invocation: bytes) -> Reply:
        if self._outcomes:
            known = self._known(_key(call, invocation))
            if known is not None:
                self._emit(RepeatRecognised(call.upstream, call.operation, call.request_id))
                return _again(*known)
        try:
            reply = await self._next(call)
        except Refusal as refusal:
            # Without either, the proxy has spent nothing on it, and a repeat is the SDK's right.
            if refusal.final or refusal.retry_after is not None:
                self._remember(_key(call, invocation), _copy(refusal, refusal.retry_after), refusal.retry_after)
            raise
        if reply.error is not None and isinstance(reply.body, bytes):
            self._remember(_key(call, invocation), reply, reply.retry_after)
        return reply

    def _known(self, key: _Key) -> tuple[Reply | Refusal, float] | None:
        """The outcome that stands, and for how many seconds more."""
        found = self._outcomes.get(key)
        if found is None:
            return None
        until, outcome, _ = found
        left = until - self._now()
        if left > 0.0:
            return outcome, left
        self._forget(key)
        return None

    def _remember(self, key: _Key, outcome: Reply | Refusal, come_back: float | None) -> None:
        self._forget(key)
        size = sum(len(part) for part in key if part is not None) + _size(outcome)
        self._outcomes[key] = (self._now() + (STANDS if come_back is None else come_back), outcome, size)
        self._size += size
        while self._size > LARGEST_MEMORY or len(self._outcomes) > REMEMBERED:
            self._forget(next(iter(self._outcomes)))

    def _forget(self, key: _Key) -> None:
        found = self._outcomes.pop(key, None)
        if found is not None:
            self._size -= found[2]


def _key(call: Call, invocation: bytes) -> _Key:
    return (invocation, call.method, call.target, call.headers.get(b"content-range"))


def _size(outcome: Reply | Refusal) -> int:
    if isinstance(outcome, Refusal):
        return len(outcome.message)
    return len(outcome.headers.raw) + (len(outcome.body) if isinstance(outcome.body, bytes) else 0)


def _copy(refusal: Refusal, retry_after: float | None) -> Refusal:
    """The same word without attempts, and without the traceback, which would keep the call and its body in memory."""
    return Refusal(refusal.reason, refusal.message, status=refusal.status, retry_after=retry_after, sent=refusal.sent)


def _again(outcome: Reply | Refusal, left: float) -> Reply:
    """The same outcome once more, with no attempt behind it; a time to come back is what is `left` of it."""
    retry_after = None if outcome.retry_after is None else left
    if isinstance(outcome, Refusal):
        raise _copy(outcome, retry_after)
    reply = Reply(
        outcome.status, outcome.headers, outcome.body, reason=outcome.reason, source="proxy", framed=outcome.framed
    )
    reply.verdict, reply.error, reply.retry_after, reply.attempts = outcome.verdict, outcome.error, retry_after, 0
    return reply
