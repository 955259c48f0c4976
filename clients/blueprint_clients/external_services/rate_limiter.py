"""A pace for the calls of one process. The sidecar's `rate` is the one that all processes of a host share."""

from __future__ import annotations

import threading
import time

from blueprint_clients import forking


class RateLimiter:
    """At most `calls_per_second` on average, after a burst of one second's worth."""

    def __init__(self, calls_per_second: float) -> None:
        if not calls_per_second > 0:
            raise ValueError("calls_per_second must be greater than 0")
        self._per_second = float(calls_per_second)
        self._burst = max(1.0, self._per_second)
        self._free_at = time.monotonic() - self._burst / self._per_second
        self._lock = threading.Lock()
        forking.watch(self)

    def acquire(self, tokens: float = 1) -> float:
        """Wait for `tokens` and return how long that took, in seconds.

        Each caller takes its place in the line under the lock and waits outside it, so that a wait delays nobody else.
        """
        if tokens <= 0:
            raise ValueError("tokens must be greater than 0")
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - self._burst / self._per_second) + tokens / self._per_second
            wait = self._free_at - now
        if wait <= 0:
            return 0.0
        time.sleep(wait)
        return wait

    def after_fork_in_child(self) -> None:
        """Take a lock that no thread of the parent holds."""
        self._lock = threading.Lock()
