"""The call that this thread is in: its deadline, and the services whose permit it holds."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class CurrentCall(NamedTuple):
    """`deadline` is in time.monotonic's seconds, None for none; `holds` are names of upstreams.

    `give_back` ends the permit of the innermost function before the function ends: for one whose own calls turn out to
    go through the sidecar, where they would wait for the very place that the permit holds.
    """

    deadline: float | None = None
    holds: frozenset[str] = frozenset()
    give_back: Callable[[], None] | None = None

    def left(self) -> float | None:
        """Seconds until the deadline, at least 1 ms."""
        return None if self.deadline is None else max(0.001, self.deadline - time.monotonic())


OUTSIDE = CurrentCall()
CURRENT: ContextVar[CurrentCall] = ContextVar("blueprint_clients_call", default=OUTSIDE)


class Account(NamedTuple):
    """How a call went, as `.blueprint` on the exception or answer that it ended with.

    `way`: guarded by a permit, through the sidecar, or unguarded. `reason` is the sidecar's word on why it went no
    further, where it gave one.
    """

    upstream: str
    operation: str
    way: str
    attempts: int
    reason: str | None = None
    request_id: str | None = None
