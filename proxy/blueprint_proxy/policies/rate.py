"""How fast attempts go to an upstream: a token bucket that throttling slows and success speeds up, and a hold for all.

The bucket is kept as the time of its next free slot. A slot behind `now` is saved credit, at most `burst` calls of it;
a slot ahead of `now` means that earlier reservations are waiting. Kept so, a change of rate never moves a promise that
was made, and reservations stay first in, first out.
"""

from __future__ import annotations

LONGEST_HOLD = 600.0
"""Seconds that one 429 holds all others: a longer hint (a day's quota) may speak of one operation alone."""

_CUT = 0.5
_CUT_EVERY = 1.0  # seconds: one burst of 429s is one piece of news
_FLOOR = 1 / 20  # of the configured rate
_TIMER_EARLY = 0.001  # seconds
_RAISE = 0.1
"""Calls a second that one success gives back.

Ten seconds of success at the configured rate are 10 * per_second successes: together per_second, the whole way. At the
reduced rate successes come more slowly: about 7 s from a half, 30 s from the floor.
"""


class TokenBucket:
    """A bucket of `burst` tokens filled at `per_second`; with per_second None there is no bucket, only the hold.

    A caller reserves, waits what it is told, then asks held_for(): where a hold came meanwhile, it reserves again (its
    first slot passed unused, nothing is to be given back). So the waiters of a hold come back one slot apart.
    Where there is no rate they all become free at the same moment and the layer adds its jitter.
    """

    __slots__ = ("_burst_minus_one", "_configured", "_cut_at", "_held_until", "_interval", "_rate", "_slot")

    def __init__(self, per_second: float | None, burst: int) -> None:
        self._configured = per_second
        self._burst_minus_one = max(burst, 1) - 1
        self._rate = per_second or 0.0
        self._interval = 1.0 / per_second if per_second else 0.0
        self._slot = float("-inf")
        self._held_until = float("-inf")
        self._cut_at = float("-inf")

    @property
    def rate(self) -> float | None:
        """Calls a second at present; None without a bucket."""
        return None if self._configured is None else self._rate

    def reserve(self, now: float) -> float:
        """Take the next slot; seconds until it comes, 0.0 = go."""
        if self._configured is None:
            return self.held_for(now)
        interval = self._interval
        slot = max(self._slot, now - self._burst_minus_one * interval)
        self._slot = slot + interval
        return slot - now if slot > now else 0.0

    def give_back(self, now: float) -> None:
        """Return a reservation that was not used.

        The newest slot is freed, whichever was given back: promises to others stand. Where an older one left, its
        moment passes unused and a later call shares a slot: the bound holds over all and not over each stretch.
        """
        if self._configured is not None:
            slot = self._slot - self._interval
            self._slot = max(slot, self._held_until) if self._held_until > now else slot

    def throttled(self, now: float, hint: float | None) -> None:
        """Take in a 429: halve the rate, at most once a second and not below a twentieth, and drop the saved credit.

        A `hint` in seconds holds everybody until it has passed, LONGEST_HOLD at most; of several holds the latest end
        counts.
        """
        if hint is not None:
            self._held_until = max(self._held_until, now + min(hint, LONGEST_HOLD))
        if self._configured is None:
            return
        if now - self._cut_at >= _CUT_EVERY:
            self._cut_at = now
            self._rate = max(self._rate * _CUT, self._configured * _FLOOR)
            self._interval = 1.0 / self._rate
        self._slot = max(self._slot, now, self._held_until)

    def succeeded(self, now: float) -> None:
        """Take in a success: the rate rises towards the configured one. During a hold it is old news, and ignored."""
        configured = self._configured
        if configured is None or self._rate >= configured or now < self._held_until:
            return
        before = self._interval
        self._rate = min(configured, self._rate + _RAISE)
        self._interval = 1.0 / self._rate
        if self._slot < now:
            # Credit is counted in calls, not in seconds: at the new rate the same calls are less time.
            self._slot = now - (now - self._slot) * self._interval / before

    def reset(self) -> None:
        """Forget the hold and what throttling took from the rate."""
        self._held_until = self._slot = self._cut_at = float("-inf")
        self._rate = self._configured or 0.0
        self._interval = 1.0 / self._configured if self._configured else 0.0

    def held_for(self, now: float) -> float:
        """Seconds left of the hold. Under a millisecond is none: timers fire that early, and a slot would be lost."""
        seconds = self._held_until - now
        return seconds if seconds > _TIMER_EARLY else 0.0
