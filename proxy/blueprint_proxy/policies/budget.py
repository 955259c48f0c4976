"""How many retries an upstream can bear: a share of its calls, plus a few."""

from __future__ import annotations

from blueprint_proxy.policies.window import Window

_CALLS, _RETRIES = 0, 1


class RetryBudget:
    """Allows a retry while the retries of the last `window` seconds stay under ratio * calls + per_second * window.

    `ratio` is retries per first try; `per_second` keeps a quiet upstream's few calls retryable.
    """

    __slots__ = ("_least", "_ratio", "_window")

    def __init__(self, ratio: float, per_second: float, window: float = 10.0) -> None:
        self._ratio = ratio
        self._least = per_second * window
        self._window = Window(window, 2)

    def call(self, now: float) -> None:
        """Record a first try."""
        self._window.add(now, _CALLS)

    def spend(self, now: float) -> bool:
        """Take one retry; False, and nothing taken, when there is none left."""
        window = self._window
        window.forget_old(now)
        calls, retries = window.sums
        if retries >= self._ratio * calls + self._least:
            return False
        window.add(now, _RETRIES)
        return True

    def spent(self, now: float) -> int:
        """Retries taken in the window."""
        self._window.forget_old(now)
        return self._window.sums[_RETRIES]

    def allowed(self, now: float) -> float:
        """Retries that the window's calls allow in all, taken ones included."""
        self._window.forget_old(now)
        return self._ratio * self._window.sums[_CALLS] + self._least
