"""What a call carries of the run that it belongs to."""

from __future__ import annotations

import re
from typing import NamedTuple

SCOPE = re.compile(r"[A-Za-z0-9._-]{1,128}~[A-Za-z0-9._-]{1,64}")
"""SCENE~JOB: the pipeline's scene ids have at most 128 characters, and the whole fits routing.RUN."""


class Tally:
    """What is counted of a run's calls: how many ended how, tries made at upstreams, body bytes from and to the job."""

    __slots__ = ("attempts", "bytes_in", "bytes_out", "outcomes")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.attempts = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def count(self, outcome: str, attempts: int, bytes_in: int, bytes_out: int) -> None:
        """Count one call that ended. `outcome` is one of telemetry.events.OUTCOMES."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.attempts += attempts
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out


class Run:
    """One execution of a job, as its calls know it.

    `scope` is SCENE~JOB, what reruns share. `name` is what logs and operators see: the scope, and for a leased run the
    first eight characters of the lease's id, which tell reruns apart. The id itself is not here: who has it has the
    run. `deadline` is in loop time, None where the run has none.
    """

    __slots__ = ("deadline", "name", "scope", "tally")

    def __init__(self, scope: str, lease: str | None = None, deadline: float | None = None) -> None:
        self.scope = scope
        self.name = scope if lease is None else f"{scope}#{shortened(lease)}"
        self.deadline = deadline
        self.tally = Tally()

    def __repr__(self) -> str:
        return f"Run({self.name})"


class Ending(NamedTuple):
    """How a run ended.

    `why` is a word of WHYS. `outcome` is success, failure or cancelled where somebody said so, else unknown.
    `exit_status` (0 to 255) and `signal` (its number) come from waitpid, by whoever started the process. `at` is in
    loop time.
    """

    why: str
    outcome: str
    at: float
    exit_status: int | None = None
    signal: int | None = None
    message: str | None = None


WHYS = ("told", "process_ended", "connection_lost", "never_taken_up", "draining")
"""Why a run can end: somebody with its id said so; its process is gone; nobody holds its lease any more; nobody ever
did; this proxy stops."""


def shortened(lease: str) -> str:
    """The part of a lease's id that may be shown: 32 of its 128 bits."""
    return lease[:8]
