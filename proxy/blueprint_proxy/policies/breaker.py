"""Whether an upstream is well enough to be called.

A state machine over permits. A permit lives in the dicts of the era that issued it; every change of state begins a new
era with empty ones, so that a late or second outcome finds nothing to move. An open breaker turns half-open when its
time is over and somebody asks: nothing here runs by itself, but tick() must be called a few times a second for the age
of hanging calls to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from blueprint_proxy.policies.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS, _FAILURES, _SLOW = 0, 1, 2
_FULL_RETRY_AFTER = 1.0  # seconds: the longest before asking again while probes are out


class State(StrEnum):
    """A breaker is closed when calls flow, open when they are refused."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


class Cause(StrEnum):
    """What changed the state."""

    FAILURE_RATIO = "failure_ratio"
    CONSECUTIVE = "consecutive"
    SLOW_RATIO = "slow_ratio"
    AGE = "age"
    WAITED = "waited"
    PROBE_FAILED = "probe_failed"
    PROBE_SLOW = "probe_slow"
    RECOVERED = "recovered"
    FORCED = "forced"
    DISABLED = "disabled"
    RESET = "reset"


class Outcome(Enum):
    """What an attempt says of the upstream's health. UNKNOWN says nothing: it only gives the place back."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """The state went from `old` to `new`. `retry_after`: seconds it will stay open, where that is known."""

    at: float
    old: State
    new: State
    why: Cause
    retry_after: float | None


class BreakerOpen(Exception):
    """No permit. `retry_after` is in seconds; None where only an operator can change it."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Permit:
    """Leave to make one attempt, begun `at`, in the given era. `answered_at` is when the reply's head came."""

    __slots__ = ("answered_at", "at", "era")

    def __init__(self, era: int, at: float) -> None:
        self.era = era
        self.at = at
        self.answered_at: float | None = None


class Breaker:
    """The breaker of one upstream. All times are seconds.

    Closed, it opens when within `window`, of at least `min_calls` settled, a share of `failure_ratio` failed or a share
    of `slow_ratio` took `slow_call` or longer (None: nothing is slow); on `consecutive` failures without a success
    between; and when a call has had no answer for longer than `age` (None: never). Only bad news opens it: a success
    that happens to complete min_calls does not.

    Open, it refuses for `open_for`, twice as long at each further trip, up to `open_cap`. The growth is forgotten once
    it has stayed closed for a whole window.

    Half-open, at most `probes` permits are out. That many successes close it, one failed or slow probe opens it. A
    probe's place is free again `probe_lease` after it began, so the lease should outlast the attempt's own timeout;
    `age`, where it is not longer than the lease, opens it before that.
    """

    __slots__ = (
        "_age", "_answered", "_closed_at", "_consecutive", "_era", "_failure_ratio", "_failures_in_a_row", "_min_calls",
        "_on_change", "_open_cap", "_open_for", "_period", "_probe_lease", "_probes", "_probes_passed", "_slow_call",
        "_slow_ratio", "_state", "_until", "_waiting", "_window",
    )  # fmt: skip

    def __init__(
        self,
        *,
        window: float,
        min_calls: int,
        failure_ratio: float,
        slow_call: float | None,
        slow_ratio: float,
        consecutive: int,
        age: float | None,
        open_for: float,
        open_cap: float,
        probes: int,
        probe_lease: float,
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        self._window = Window(window, 3)
        self._min_calls = min_calls
        self._failure_ratio = failure_ratio
        self._slow_call = float("inf") if slow_call is None else slow_call
        self._slow_ratio = slow_ratio
        self._consecutive = consecutive
        self._age = age
        self._open_for = open_for
        self._open_cap = open_cap
        self._probes = probes
        self._probe_lease = probe_lease
        self._on_change = on_change
        self._state = State.CLOSED
        self._era = 0
        self._period = 0.0
        self._until = 0.0
        self._closed_at = float("-inf")
        self._failures_in_a_row = 0
        self._probes_passed = 0
        # Both in order of insertion. `_waiting` is in order of `at` too, so its first is the oldest.
        self._waiting: dict[Permit, None] = {}
        self._answered: dict[Permit, None] = {}

    @property
    def era(self) -> int:
        """Counts the changes of state."""
        return self._era

    @property
    def in_flight(self) -> int:
        """Permits of this era that are not settled; a disabled breaker counts none."""
        return len(self._waiting) + len(self._answered)

    def state(self, now: float) -> State:
        """Tell the state that admit() would act on, without changing it."""
        return State.HALF_OPEN if self._state is State.OPEN and now >= self._until else self._state

    def open_left(self, now: float) -> float:
        """Seconds until an open breaker lets a probe through; 0 in every other state, and where only reset() can."""
        return max(self._until - now, 0.0) if self._state is State.OPEN and self._until != float("inf") else 0.0

    def admit(self, now: float) -> Permit:
        """Give a permit, which must be settled, or raise BreakerOpen."""
        if self._state is State.CLOSED:
            permit = Permit(self._era, now)
            self._waiting[permit] = None
            return permit
        return self._admit_unless_closed(now)

    def answered(self, permit: Permit, now: float) -> None:
        """Take in that the reply's head has come: the call no longer counts as hanging, nor its body's time as slow.

        Optional; without it both run until the permit is settled.
        """
        if permit in self._waiting:
            del self._waiting[permit]
            self._answered[permit] = None
            permit.answered_at = now

    def settle(self, permit: Permit, now: float, outcome: Outcome) -> None:
        """Take in how the attempt ended. A second settle, or one from an earlier era, moves nothing."""
        if permit in self._waiting:
            del self._waiting[permit]
            took = now - permit.at
        elif permit in self._answered:
            del self._answered[permit]
            took = (permit.answered_at or now) - permit.at
        else:
            return
        if outcome is Outcome.UNKNOWN:
            return
        if self._state is State.CLOSED:
            window = self._window
            window.add(now, _CALLS)
            if outcome is Outcome.SUCCESS:
                self._failures_in_a_row = 0
                if took < self._slow_call:
                    return
            self._bad_news(now, failed=outcome is Outcome.FAILURE, slow=took >= self._slow_call)
        elif now - permit.at < self._probe_lease:
            self._probe_settled(now, failed=outcome is Outcome.FAILURE, slow=took >= self._slow_call)

    def tick(self, now: float) -> None:
        """Open on a call that hangs, and take back the places of probes whose lease has ended."""
        age = self._age
        if age is not None and self._waiting and (self._state is State.CLOSED or age <= self._probe_lease):
            oldest = next(iter(self._waiting))
            if now - oldest.at > age:
                self._open(now, Cause.AGE)
                return
        if self._state is State.HALF_OPEN:
            self._end_leases(now)

    def hold_open(self, now: float) -> None:
        """Refuse everything until reset(): a call hangs, and no probe could tell anything while it does."""
        if self._state not in {State.FORCED_OPEN, State.DISABLED}:
            self._until = float("inf")
            self._change(now, State.OPEN, Cause.AGE, None)

    def force_open(self, now: float) -> None:
        """Refuse everything until reset."""
        self._change(now, State.FORCED_OPEN, Cause.FORCED, None)

    def disable(self, now: float) -> None:
        """Admit everything and count nothing until reset."""
        self._change(now, State.DISABLED, Cause.DISABLED, None)

    def reset(self, now: float) -> None:
        """Close, and forget failures and the growth of the open period."""
        self._period = 0.0
        self._close(now, Cause.RESET)

    def _admit_unless_closed(self, now: float) -> Permit:
        if self._state is State.OPEN:
            if now < self._until:
                raise BreakerOpen(None if self._until == float("inf") else self._until - now)
            self._probes_passed = 0
            self._change(now, State.HALF_OPEN, Cause.WAITED, None)
        if self._state is State.HALF_OPEN and self.in_flight >= self._probes:
            self._end_leases(now)
            if self.in_flight >= self._probes:
                oldest = min(permit.at for permit in (*self._waiting, *self._answered))
                raise BreakerOpen(min(_FULL_RETRY_AFTER, oldest + self._probe_lease - now))
        if self._state is State.FORCED_OPEN:
            raise BreakerOpen(None)
        permit = Permit(self._era, now)
        if self._state is not State.DISABLED:
            self._waiting[permit] = None
        return permit

    def _bad_news(self, now: float, *, failed: bool, slow: bool) -> None:
        window = self._window
        if failed:
            window.add(now, _FAILURES)
            self._failures_in_a_row += 1
        if slow:
            window.add(now, _SLOW)
        calls, failures, slow_calls = window.sums
        if failed and self._failures_in_a_row >= self._consecutive:
            self._open(now, Cause.CONSECUTIVE)
        elif calls < self._min_calls:
            return
        elif failed and failures >= self._failure_ratio * calls:
            self._open(now, Cause.FAILURE_RATIO)
        elif slow and slow_calls >= self._slow_ratio * calls:
            self._open(now, Cause.SLOW_RATIO)

    def _probe_settled(self, now: float, *, failed: bool, slow: bool) -> None:
        if failed or slow:
            self._open(now, Cause.PROBE_FAILED if failed else Cause.PROBE_SLOW)
            return
        self._probes_passed += 1
        if self._probes_passed >= self._probes:
            self._closed_at = now
            self._close(now, Cause.RECOVERED)

    def _end_leases(self, now: float) -> None:
        ended = now - self._probe_lease
        self._waiting = {permit: None for permit in self._waiting if permit.at > ended}
        self._answered = {permit: None for permit in self._answered if permit.at > ended}

    def _open(self, now: float, why: Cause) -> None:
        recovered = self._state is State.CLOSED and now - self._closed_at >= self._window.span
        grown = self._open_for if recovered or not self._period else self._period * 2
        self._period = min(self._open_cap, grown)
        self._until = now + self._period
        self._change(now, State.OPEN, why, self._period)

    def _close(self, now: float, why: Cause) -> None:
        self._window.clear()
        self._failures_in_a_row = 0
        self._change(now, State.CLOSED, why, None)

    def _change(self, now: float, new: State, why: Cause, retry_after: float | None) -> None:
        old = self._state
        self._state = new
        self._era += 1
        self._waiting = {}
        self._answered = {}
        if self._on_change is not None:
            self._on_change(Change(now, old, new, why, retry_after))
