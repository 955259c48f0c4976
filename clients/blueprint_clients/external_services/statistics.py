"""What a client has seen, in numbers that add up."""

from __future__ import annotations

import threading
import time
from typing import Any

from blueprint_clients import forking

GUARDED, THROUGH, UNGUARDED = "guarded", "through", "unguarded"


class Statistics:
    """Counts of one client in one process: `call_count` is the calls that have ended, well or not.

    Every call is counted once as a success or an error, and once as guarded, through or unguarded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(
            ("successes", "failures", "refused", GUARDED, THROUGH, UNGUARDED, "attempts", "overruns"), 0
        )
        self._seconds = 0.0
        self._breaker = "unknown"
        self._breaker_opens_in: float | None = None
        forking.watch(self)

    def ended(
        self, way: str, began: float, deadline: float | None, *, attempts: int, succeeded: bool, refused: bool
    ) -> None:
        """Count a call that ends now. `way` is one of the three; `began` and `deadline` are time.monotonic's."""
        now = time.monotonic()
        with self._lock:
            counts = self._counts
            counts["successes" if succeeded else "failures"] += 1
            counts[way] += 1
            counts["attempts"] += attempts
            counts["refused"] += refused
            counts["overruns"] += deadline is not None and now > deadline and attempts > 0
            self._seconds += now - began

    def breaker(self, state: str, retry_after: float | None = None) -> None:
        """Keep what the sidecar last told of the breaker; `retry_after` in seconds."""
        self._breaker, self._breaker_opens_in = state, retry_after

    def told(self) -> dict[str, Any]:
        """Give the numbers; times in seconds, `success_rate` from 0 to 1, and 1 before the first call."""
        with self._lock:
            counts = dict(self._counts)
            seconds = self._seconds
        calls = counts["successes"] + counts["failures"]
        return {
            "call_count": calls,
            "success_count": counts["successes"],
            "error_count": counts["failures"],
            "success_rate": counts["successes"] / calls if calls else 1.0,
            "avg_duration": seconds / calls if calls else 0.0,
            "attempt_count": counts["attempts"],
            "refused_count": counts["refused"],
            "overrun_count": counts["overruns"],
            "guarded_count": counts[GUARDED],
            "through_count": counts[THROUGH],
            "unguarded_count": counts[UNGUARDED],
            "circuit_breaker": {"state": self._breaker, "retry_after_s": self._breaker_opens_in},
        }

    def after_fork_in_child(self) -> None:
        """Take a lock that no thread of the parent holds; the numbers go on from the parent's."""
        self._lock = threading.Lock()
