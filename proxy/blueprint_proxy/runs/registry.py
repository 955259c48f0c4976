"""The runs of this proxy: leases opened, held and ended, and the last of those that are over.

What ends a run, in the order of belief: whoever has its id says so; its process is gone, where one is watched; and
only where none is, nobody holds the lease's connection. A watched process that lives keeps its run through any loss of
the connection, and one that is gone ends it although a child that it forked may keep the connection open.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.runs.lease import Lease
from blueprint_proxy.runs.processes import Unproven, Watched, ancestry
from blueprint_proxy.runs.run import SCOPE, Ending, Run, shortened
from blueprint_proxy.telemetry.events import RunEnded, RunRefused, RunStarted, RunUnknown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from blueprint_proxy.admin.state import AddressesShown
    from blueprint_proxy.runs.lease import Order
    from blueprint_proxy.telemetry.stream import Telemetry

_Value = TypeVar("_Value")

MOST_LIVE = 64
"""Leases at a time: half of the places that the admin listener has for them, for a lost connection may linger."""
MOST_ENDED = 256
"""Runs that are over and still shown: some days of one machine's."""
MOST_REMEMBERED = 256
"""Unknown ids told once, and runs by scope alone: jobs may make them up."""
TAKE_UP = 30.0
"""Seconds in which a lease without a watched process must be held: an interpreter that imports a simulator needs 20."""
REATTACH = 5.0
"""Seconds in which a lost connection may come again before the run of an unwatched process ends."""
LAST_WORD = 0.5
"""Seconds that whoever launched a process has to tell how it ended, once it is gone. It takes a few milliseconds."""


class RunRefusal(Exception):
    """A lease is not given. `why` is conflict, full, draining or foreign_process; the message is for the job."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class Runs:
    """Every run that this process knows.

    `held` are the live runs by lease id, for the data path; `only` is the one, if there is just one, which is the run
    of a call that names none; `generation` moves whenever they change. `by_scope` says that jobs may name a run as
    SCENE~JOB, which is so while no job token is configured. `addresses` gives what the job of a lease is told of the
    listeners: AdminState's. `on_end` is called with each leased run when it is over.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        addresses: Callable[[str, str | None], AddressesShown],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._emit = telemetry.emit
        self._loop = asyncio.get_running_loop()
        self._wall = wall
        self.addresses = addresses
        self.by_scope = True
        self.on_end: Callable[[Run], None] | None = None
        self.draining = False
        self.held: dict[str, Run] = {}
        self.only: Run | None = None
        self.generation = 0
        self._leases: dict[str, Lease] = {}
        self._scopes: dict[str, Lease] = {}
        self._ended: deque[Lease] = deque(maxlen=MOST_ENDED)
        self._unknown: dict[str, None] = {}
        self._by_scope_alone: dict[str, Run] = {}

    # leases

    def admit(self, order: Order) -> None:
        """RunRefusal where no lease can be given for this order now."""
        other = self._scopes.get(order.scope)
        if self.draining:
            self._refuse("draining", "this proxy is shutting down and gives no new lease")
        if other is not None:
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(other.since))
            by = (
                f"process {other.process.pid}"
                if isinstance(other.process, Watched)
                else f"a process that is not watched ({other.process.why})"
            )
            self._refuse("conflict", f"{order.scope} has had a live lease since {since}, held for {by}")
        if len(self._leases) >= MOST_LIVE:
            self._refuse("full", f"{MOST_LIVE} leases are live, more are not given")

    def open(self, order: Order, process: Watched | Unproven) -> Lease:
        """Give a lease; RunRefusal as `admit`, and then the process's pidfd is closed."""
        try:
            self.admit(order)
        except RunRefusal:
            discard(process)
            raise
        now = self._loop.time()
        lease_id = secrets.token_hex(16)
        run = Run(order.scope, lease_id, None if order.deadline_s is None else now + order.deadline_s)
        lease = Lease(lease_id, order, run, process, started=now, since=self._wall())
        self._leases[lease_id] = self._scopes[order.scope] = lease
        self.held[lease_id] = run
        self._changed()
        if isinstance(process, Watched):
            self._loop.add_reader(process.pidfd, self._process_ended, lease)
        else:
            self._end_after(TAKE_UP, lease, "never_taken_up")
        why = None if isinstance(process, Watched) else process.why
        self._emit(
            RunStarted(run.name, order.scene_id, order.job_name, order.bucket, order.deadline_s, why is None, why)
        )
        return lease

    def refuse_process(self, message: str) -> NoReturn:
        """RunRefusal for a process that is not the caller's."""
        self._refuse("foreign_process", message)

    def lease(self, lease_id: str) -> Lease | None:
        """The lease of this id: live, or over and not forgotten yet."""
        live = self._leases.get(lease_id)
        return live or next((lease for lease in self._ended if lease.id == lease_id), None)

    def live(self) -> list[Lease]:
        """Every live lease, the oldest first."""
        return list(self._leases.values())

    def ended(self) -> list[Lease]:
        """The last leases that are over, the latest first."""
        return list(reversed(self._ended))

    def left(self, run: Run) -> float | None:
        """Seconds until the run's deadline, 0 when it has passed."""
        return None if run.deadline is None else max(run.deadline - self._loop.time(), 0.0)

    def age(self, lease: Lease) -> float:
        """Seconds that the run has lasted, or did."""
        return (self._loop.time() if lease.ending is None else lease.ending.at) - lease.started

    def hold(self, lease: Lease, on_end: Callable[[], None]) -> None:
        """A connection holds the lease; `on_end` is called when the run ends, at once when it has."""
        if lease.ending is not None:
            on_end()
            return
        lease.connections.add(on_end)
        if isinstance(lease.process, Unproven):
            lease.disarm()

    def let_go(self, lease: Lease, on_end: Callable[[], None]) -> None:
        """That connection is gone. Without another one, and without a process, the run ends soon."""
        lease.connections.discard(on_end)
        if lease.ending is None and not lease.connections and isinstance(lease.process, Unproven):
            self._end_after(REATTACH, lease, "connection_lost")

    def end(
        self,
        lease: Lease,
        why: str,
        *,
        outcome: str = "unknown",
        exit_status: int | None = None,
        signal: int | None = None,
        message: str | None = None,
    ) -> Ending:
        """End the run. What is said of one that is over only fills in what nobody had said before."""
        told = lease.ending
        now = self._loop.time()
        if told is not None:
            if told.outcome == "unknown":
                lease.ending = Ending(told.why, outcome, told.at, exit_status, signal, message)
            return lease.ending or told
        ending = lease.ending = Ending(why, outcome, now, exit_status, signal, message)
        lease.disarm()
        self._unwatch(lease)
        discard(lease.process)
        del self._leases[lease.id], self._scopes[lease.order.scope], self.held[lease.id]
        self._changed()
        self._ended.append(lease)
        connections, lease.connections = lease.connections, set()
        for on_end in connections:
            on_end()
        lease.order = lease.order._replace(input_params=None)  # nobody asks for them any more
        calls = sum(lease.run.tally.outcomes.values())
        if self.on_end is not None:
            self.on_end(lease.run)
        self._emit(RunEnded(lease.run.name, why, outcome, now - lease.started, exit_status, signal, calls))
        return ending

    def drain(self) -> None:
        """End every lease, and give no new ones: this proxy stops."""
        self.draining = True
        for lease in self.live():
            self.end(lease, "draining")

    # the run of a call

    def named(self, name: str) -> Run | None:
        """The run that a job names: a lease's id, or SCENE~JOB. None for an id that is not, or no more, a lease's.

        Refusal for SCENE~JOB where a job token is configured, and for what is neither.
        """
        run = self.held.get(name)
        if run is not None:
            return run
        if "~" in name:
            return self._named_by_scope(name)
        if name not in self._unknown:
            _remember(self._unknown, name, None)
            over = next((lease.run.name for lease in self._ended if lease.id == name), None)
            self._emit(RunUnknown(over or f"{shortened(name)}...", over is not None))
        return None

    def of_request(self, name: str | None) -> Run | None:
        """The run that a job names, or where it names none the only one; Refusal as `named`."""
        return self.only if name is None else self.named(name)

    def of_process(self, pid: int) -> Run | None:
        """The run whose watched process this is, or is an ancestor of it."""
        watched = {
            lease.process.pid: lease.run for lease in self._leases.values() if isinstance(lease.process, Watched)
        }
        return next((watched[one] for one in ancestry(pid) if one in watched), None) if watched else None

    def _named_by_scope(self, name: str) -> Run:
        if SCOPE.fullmatch(name) is None:
            raise Refusal(Reason.BAD_REQUEST, "a run is named by its lease's id or as SCENE~JOB", sent=False)
        if not self.by_scope:
            raise Refusal(
                Reason.FORBIDDEN,
                "with a job token configured, a run is named by its lease's id: SCENE~JOB can be guessed",
                sent=False,
            )
        lease = self._scopes.get(name)
        if lease is not None:
            return lease.run
        run = self._by_scope_alone.get(name)
        if run is None:
            run = Run(name)
            _remember(self._by_scope_alone, name, run)
        return run

    # what ends a run

    def _process_ended(self, lease: Lease) -> None:
        self._unwatch(lease)
        if isinstance(lease.process, Watched) and lease.process.launched:
            self._end_after(LAST_WORD, lease, "process_ended")
        else:
            self.end(lease, "process_ended")

    def _unwatch(self, lease: Lease) -> None:
        if isinstance(lease.process, Watched):
            self._loop.remove_reader(lease.process.pidfd)

    def _end_after(self, seconds: float, lease: Lease, why: str) -> None:
        lease.disarm()
        lease.alarm = self._loop.call_later(seconds, partial(self.end, lease, why))

    def _changed(self) -> None:
        self.generation += 1
        self.only = next(iter(self.held.values())) if len(self.held) == 1 else None

    def _refuse(self, why: str, message: str) -> NoReturn:
        self._emit(RunRefused(why, message))
        raise RunRefusal(why, message)


def discard(process: Watched | Unproven) -> None:
    """Watch it no more."""
    if isinstance(process, Watched):
        os.close(process.pidfd)


def _remember(table: dict[str, _Value], key: str, value: _Value) -> None:
    """Keep it, in place of the oldest where the table is full."""
    if len(table) >= MOST_REMEMBERED:
        del table[next(iter(table))]
    table[key] = value
