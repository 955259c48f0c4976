"""A lease: the live side of a run. Who holds it, which process is watched for it, what ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from blueprint_proxy.runs.processes import Unproven, Watched
    from blueprint_proxy.runs.run import Ending, Run


class Order(NamedTuple):
    """What a job asks for when it takes a lease. `deadline_s` is in seconds from now.

    `input_params` is the job's own JSON object. It is kept while the run lives, for the marker of one that fails, and
    shown to nobody.
    """

    scene_id: str
    job_name: str
    bucket: str | None = None
    deadline_s: float | None = None
    input_params: Mapping[str, object] | None = None

    @property
    def scope(self) -> str:
        return f"{self.scene_id}~{self.job_name}"


class Lease:
    """One lease. `id` is the authority over the run, and stands in no log.

    `started` is in loop time, `since` in seconds since 1970. `process` is what is watched, or why nothing is;
    `connections` are told when the run ends.
    """

    __slots__ = (
        "alarm", "connections", "ending", "id", "order", "process", "run", "since", "started",
    )  # fmt: skip

    def __init__(
        self, lease_id: str, order: Order, run: Run, process: Watched | Unproven, *, started: float, since: float
    ) -> None:
        self.id = lease_id
        self.order = order
        self.run = run
        self.process = process
        self.started = started
        self.since = since
        self.connections: set[Callable[[], None]] = set()
        self.alarm: asyncio.TimerHandle | None = None
        self.ending: Ending | None = None

    def __repr__(self) -> str:
        return f"Lease({self.run.name})"

    def disarm(self) -> None:
        """No time runs against it any more."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
