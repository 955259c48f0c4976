"""The simulator's one place, kept by a process that no sidecar guards.

The server has a mailbox for one call and does not know whose answer is whose. Two calls at once get each other's; one
that is given up goes on in the server and takes the answer of the next. So a call holds the place until it has ended,
also when its caller has long left. Other processes are not kept out: only the sidecar can do that.
"""

from __future__ import annotations

import threading
import time

from blueprint_clients import forking


class Lane:
    """One place, and who holds it."""

    def __init__(self) -> None:
        self._place = threading.Lock()
        self._holder: tuple[str, float] | None = None
        forking.watch(self)

    def take(self, method: str, patience: float) -> bool:
        """Wait at most `patience` seconds for the place; whether it was got."""
        if not self._place.acquire(timeout=min(max(0.0, patience), threading.TIMEOUT_MAX)):
            return False
        self._holder = method, time.monotonic()
        return True

    def give_back(self) -> None:
        """Let the next one in; from any thread."""
        self._holder = None
        self._place.release()

    def held_by(self) -> str:
        """Say in words which call holds the place, and for how long."""
        holder = self._holder
        if holder is None:
            return "a call that has just ended"
        method, since = holder
        return f"{method}, which has held it for {time.monotonic() - since:.1f} s"

    def after_fork_in_child(self) -> None:
        """Begin with a free place: calls of the parent are the parent's."""
        self._place = threading.Lock()
        self._holder = None


_lanes: dict[str, Lane] = {}


def lane_to(target: str) -> Lane:
    """Give the lane of a simulator: one for all clients of this process."""
    return _lanes.get(target) or _lanes.setdefault(target, Lane())
