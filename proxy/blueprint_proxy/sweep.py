"""One coarse timer for everything that may time out.

A timer in the event loop for each of a call's limits costs more than the rest of its policies together, and nearly none
of them ever fires. Here an alarm is one entry in a bucket of a wheel; the loop has a single timer, and only while there
are alarms.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

GRAIN = 0.02
"""Seconds between two sweeps: how late an alarm can be. Never early."""
PURGE_EVERY = 50
"""Sweeps after which the buckets are thrown out whose alarms were all cancelled: once a second."""


class Alarm:
    """Something to do at a time. `cancel` is harmless after it has rung."""

    __slots__ = ("_bucket", "action")

    def __init__(self, action: Callable[[], None], bucket: set[Alarm]) -> None:
        self.action = action
        self._bucket = bucket

    def cancel(self) -> None:
        """It will not ring."""
        self._bucket.discard(self)


class Sweep:
    """The wheel of alarms of one event loop. Times are the loop's own, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now = loop.time
        self._buckets: dict[int, set[Alarm]] = {}
        self._swept = 0
        self._purge_at = 0
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float, action: Callable[[], None]) -> Alarm:
        """Calls `action` once, at most GRAIN seconds after `when`."""
        number = math.ceil(when / GRAIN)
        if not self._buckets:  # inside a tick the others still count on where the wheel stands
            self._swept = max(self._swept, int(self.loop.time() / GRAIN))
        if self._timer is None:
            self._timer = self.loop.call_at((self._swept + 1) * GRAIN, self._tick)
        if number <= self._swept:
            number = self._swept + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = set()
        alarm = Alarm(action, bucket)
        bucket.add(alarm)
        return alarm

    def _tick(self) -> None:
        until = int(self.loop.time() / GRAIN + 1e-9)
        due = [number for number in range(self._swept + 1, until + 1) if number in self._buckets]
        if until - self._swept > len(self._buckets):
            due = sorted(number for number in self._buckets if number <= until)
        self._swept = max(self._swept, until)
        self._timer = None
        try:
            for number in due:
                bucket = self._buckets[number]
                while bucket:
                    bucket.pop().action()
                del self._buckets[number]
        finally:
            self._set_timer(due)

    def _set_timer(self, due: list[int]) -> None:
        left = next((number for number in due if number in self._buckets), None)
        if left is not None:
            self._swept = left - 1  # an action raised: the alarms beside it ring with the next sweep
        if self._swept >= self._purge_at:
            self._purge_at = self._swept + PURGE_EVERY
            self._buckets = {number: bucket for number, bucket in self._buckets.items() if bucket}
        if self._buckets and self._timer is None:
            self._timer = self.loop.call_at((self._swept + 1) * GRAIN, self._tick)


class Limit:
    """`with Limit(sweep, when, error):` -- the body is cancelled at `when`, and the cancellation becomes `error()`.

    The meaning of asyncio.timeout_at on the coarse wheel. A cancellation from outside stays one, also when both come at
    once. `when` None sets no limit.
    """

    __slots__ = ("_alarm", "_cancelling", "_error", "_expired", "_sweep", "_task", "_when")

    def __init__(self, sweep: Sweep, when: float | None, error: Callable[[], Exception]) -> None:
        self._sweep = sweep
        self._when = when
        self._error = error
        self._expired = False
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def __enter__(self) -> Self:
        if self._when is not None:
            task = asyncio.current_task(self._sweep.loop)
            if task is None:
                raise RuntimeError("a Limit works inside a task")
            self._task = task
            self._cancelling = task.cancelling()
            self._alarm = self._sweep.at(self._when, self._expire)
        return self

    def _expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None  # each holds the other: the call and its body would wait for the garbage collector
        if (
            self._expired
            and self._task is not None
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise self._error() from error
