"""Every guarded function of this process, and the permits that are out."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.guard.function import Function, FunctionCall
from blueprint_proxy.policies.deadline import earliest
from blueprint_proxy.telemetry.events import CallRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from blueprint_proxy.calls import Reply
    from blueprint_proxy.guard.function import Told
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry
    from blueprint_proxy.telemetry.tracing import Trace
    from blueprint_proxy.upstreams.upstream import Upstream

MOST = 4096
"""Functions guarded at once, waiting ones included: several upstreams with full queues of 1024.

Each holds about 6 KiB, so that a job that only ever asks costs 24 MiB at most.
"""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A job's request for leave to run a function. `operation` is its own name for it; `timeout` is in seconds.

    `repeatable` None: the configuration's `class` decides, then the kind. `run` is the id of the run that it is for,
    `trace` the trace that the function belongs to.
    """

    operation: str
    request_id: str
    timeout: float | None = None
    run: str | None = None
    repeatable: bool | None = None
    trace: Trace | None = None


class UnknownPermit(LookupError):
    """No such permit is out: it was settled, it expired, or it never was."""


class Guard:
    """Hands out permits for functions and takes their outcomes. `upstreams` is the live mapping, by name.

    `run_of` gives the run that a job's request names, or is taken to belong to where it names none; Refusal for what
    no run is called.
    """

    def __init__(
        self,
        upstreams: Mapping[bytes, Upstream],
        *,
        telemetry: Telemetry,
        sweep: Sweep,
        run_of: Callable[[str | None], Run | None] = lambda _: None,
        most: int = MOST,
    ) -> None:
        self._upstreams = upstreams
        self._emit = telemetry.emit
        self._sweep = sweep
        self._run_of = run_of
        self._most = most
        self._functions: dict[asyncio.Task[Reply], Function] = {}
        self._out: dict[str, Function] = {}
        self._draining = False
        start = secrets.token_hex(6)
        self._ids = (f"{start}-{number:x}" for number in itertools.count(1))
        self.quiet = asyncio.Event()
        self.quiet.set()

    @property
    def in_flight(self) -> int:
        """Functions that have asked and not ended."""
        return len(self._functions)

    @property
    def permits(self) -> int:
        """Permits that are out."""
        return len(self._out)

    def request_id(self, given: str | None) -> str:
        """The job's own id of its request, where it is one, else a new one."""
        return given if given is not None and _REQUEST_ID.fullmatch(given) else next(self._ids)

    def ask(self, name: str, asked: Asked) -> Function:
        """Begin a function of upstream `name`; its `turn` is the permit, or a refusal. Refusal for one not begun."""
        try:
            upstream = self._admit(name)
            run = self._run_of(asked.run)
        except Refusal as refusal:
            self._emit(CallRefused("", "", asked.request_id, refusal.reason.value, refusal.retry_after))
            raise
        function = Function(upstream.name, upstream.kind, run, sweep=self._sweep, out=self._out)
        call = self._call(upstream, asked, function)
        task = function.begin(upstream.send_function(call))
        self._functions[task] = function
        self.quiet.clear()
        task.add_done_callback(self._over)
        return function

    def settle(self, name: str, permit: str, told: Told) -> Function:
        """Take in how a function ended; its `turn` is the next permit, once any wait for it is over, or the end.

        UnknownPermit for one that is not out, or not of upstream `name`.
        """
        function = self._out.get(permit)
        if function is None or function.upstream != name:
            raise UnknownPermit("no such permit is out: it was settled before, it expired, or it never was")
        del self._out[permit]
        function.settle(told)
        return function

    def drain(self) -> None:
        """Refuse new functions; those under way go on, `quiet` says when all have ended."""
        self._draining = True

    def abort(self) -> None:
        """End every function now: their permits are worth nothing any more."""
        for function in list(self._functions.values()):
            function.cancel(Refusal(Reason.DRAINING, "this proxy is shutting down", sent=None))

    def end_run(self, run: Run) -> None:
        """End what is left of a run: a job that is gone settles nothing."""
        for function in list(self._functions.values()):
            if function.run is run:
                function.cancel(Refusal(Reason.FORBIDDEN, "the run that this function belongs to has ended"))

    def _admit(self, name: str) -> Upstream:
        upstream = self._upstreams.get(name.encode("utf-8", "replace"))
        if upstream is None:
            known = ", ".join(sorted(key.decode("ascii") for key in self._upstreams))
            raise Refusal(Reason.UNKNOWN_UPSTREAM, f"no upstream {name[:80]!r} here; there are: {known}", sent=False)
        # Only now: an answer that names its upstream names one of ours, never what somebody made up.
        if self._draining:
            raise Refusal(Reason.DRAINING, "this proxy is shutting down; the function was not run", sent=False)
        if len(self._functions) >= self._most:
            raise Refusal(
                Reason.OVERLOADED, f"{self._most} guarded functions are under way, which is the limit", sent=False
            )
        return upstream

    def _call(self, upstream: Upstream, asked: Asked, function: Function) -> FunctionCall:
        now = self._sweep.now()
        settings, policies = upstream.in_force(asked.operation)
        repeatable = asked.repeatable
        if repeatable is None and settings.operation_class is not None:
            repeatable = settings.operation_class != "unsafe"
        if repeatable is None:
            repeatable = upstream.answers_only
        deadline = None
        if settings.mode != "off":
            limit = earliest(settings.deadline, asked.timeout)
            deadline = None if limit is None else now + limit
            if function.run is not None:
                deadline = earliest(deadline, function.run.deadline)
        return FunctionCall(
            function.attempt,
            upstream=upstream.name,
            operation=asked.operation,
            settings=settings,
            policies=policies,
            repeatable=repeatable,
            request_id=asked.request_id,
            arrived=now,
            deadline=deadline,
            run=function.run,
            trace=asked.trace,
        )

    def _over(self, task: asyncio.Task[Reply]) -> None:
        del self._functions[task]
        if not self._functions:
            self.quiet.set()
