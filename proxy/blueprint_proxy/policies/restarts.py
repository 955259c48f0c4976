"""When a hung simulator may be started again: seldom, and less often still while its start is what fails."""

from __future__ import annotations

from collections import deque

HOUR = 3600.0


class Restarts:
    """At most `per_hour` restarts in any hour, `cooldown` seconds apart.

    A hang while the robot is being initialised has a budget of its own (`initialising`), so that a scene which never
    loads does not spend the restarts that a working one may need.
    """

    def __init__(self, *, cooldown: float, per_hour: int, initialising: int) -> None:
        self._cooldown = cooldown
        self._limits = {False: per_hour, True: initialising}
        self._past: dict[bool, deque[float]] = {False: deque(), True: deque()}
        self._last = float("-inf")

    def ask(self, now: float, *, initialising: bool) -> float:
        """Seconds until a restart may be made; 0.0: it may be made now, and is counted."""
        past, limit = self._past[initialising], self._limits[initialising]
        while past and now - past[0] >= HOUR:
            past.popleft()
        wait = max(0.0, self._last + self._cooldown - now)
        if len(past) >= limit:
            wait = max(wait, past[0] + HOUR - now) if past else float("inf")
        if wait == 0.0:
            past.append(now)
            self._last = now
        return wait
