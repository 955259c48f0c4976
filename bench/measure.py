"""One whole run: start every stack, its memory, then the rounds; every stack's numbers in one Results."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import loads
from bench.processes import BenchError, Program, cpu_s, free_port, memory_bytes, reset_memory_peak, tree_of
from bench.stacks import DIRECT, FILES, Ports, Stack, start_bodies, start_sink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START_LIMIT_S = 20.0
SETTLE_S = 2.0  # after the warm-up, before memory is read: what a stack loads late belongs to its idle memory
WARM_UP_CALLS = 20


@dataclass(frozen=True)
class Plan:
    """How long to measure: `rounds` of `seconds` a load, `bodies` large bodies a round, `starts` of each program."""

    rounds: int
    seconds: int
    bodies: int
    starts: int


FULL = Plan(rounds=3, seconds=3, bodies=2, starts=3)
QUICK = Plan(rounds=1, seconds=2, bodies=1, starts=1)


@dataclass
class Measured:
    """The numbers of one stack. By load, an item a round: CPU seconds a request, requests/s, latencies in us."""

    version: str
    first_call_s: list[float] = field(default_factory=list)
    idle_bytes: int = 0
    slow_reader_bytes: int = 0
    slow_upstream_bytes: int = 0
    cpu: dict[str, list[float]] = field(default_factory=dict)
    rate: dict[str, list[float]] = field(default_factory=dict)
    p50_us: dict[str, list[float]] = field(default_factory=dict)
    p99_us: dict[str, list[float]] = field(default_factory=dict)

    def cpu_median(self, load: str) -> float:
        return statistics.median(self.cpu[load])


@dataclass
class Results:
    """What a run found: numbers by stack, and why a stack has none."""

    measured: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class _Running:
    stack: Stack
    program: Program | None
    target: loads.Target
    measured: Measured


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def measure(stacks: Sequence[Stack], plan: Plan, directory: Path) -> Results:
    """Measure `stacks` side by side, files in `directory`. A stack that fails is left out from there on."""
    results = Results()
    with contextlib.ExitStack() as ends:
        upstreams = _start_upstreams(directory, ends)
        running: list[_Running] = []
        for stack in stacks:
            try:
                running.append(_start(stack, plan, directory, upstreams, ends))
                _measure_memory(running[-1])
            except (BenchError, OSError) as error:
                _fail(stack, error, results, running)
        for round_number in range(plan.rounds):
            for load in loads.LOADS:
                _say(f"round {round_number + 1} of {plan.rounds}: {load.name}")
                # Another stack begins each time, so that none always follows the same neighbour.
                turn = round_number % max(1, len(running))
                for one in running[turn:] + running[:turn]:
                    try:
                        _measure_load(one, load, plan)
                    except (BenchError, OSError) as error:
                        _fail(one.stack, error, results, running)
        results.measured = {one.stack.name: one.measured for one in running}
    return results


def _fail(stack: Stack, error: Exception, results: Results, running: list[_Running]) -> None:
    ended = [one.program.ended() for one in running if one.stack is stack and one.program is not None]
    results.failed[stack.name] = "; ".join([str(error), *(words for words in ended if words)])
    running[:] = [one for one in running if one.stack is not stack]
    _say(f"{stack.name} is left out: {error}")


def _directory(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir(parents=True, exist_ok=True)
    return made


def _start_upstreams(directory: Path, ends: contextlib.ExitStack) -> loads.Target:
    target = loads.Target(free_port(), free_port())
    bodies = ends.enter_context(start_bodies(_directory(directory, "upstream-bodies"), target.bodies))
    sink = ends.enter_context(start_sink(_directory(directory, "upstream-sink"), target.sink))
    loads.wait_for_first_call(bodies, target, START_LIMIT_S)
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        sink.check_alive()
        try:
            loads.upload(target, 1)
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            break
    for file in FILES:
        loads.download(target, file)  # into the page cache, so that the first stack does not pay for it
    return target


def _start(stack: Stack, plan: Plan, directory: Path, upstreams: loads.Target, ends: contextlib.ExitStack) -> _Running:
    """Start one stack `plan.starts` times, leave the last running, warm it up and read its idle memory."""
    _say(f"starting {stack.name}")
    measured = Measured(stack.version())
    if stack is DIRECT:
        return _Running(stack, None, upstreams, measured)
    for number in range(plan.starts):
        own, admin = free_port(), free_port()
        target = loads.Target(own, own)
        ports = Ports(own, admin, upstreams.bodies, upstreams.sink)
        program = stack.start(_directory(directory, f"{stack.name}-{number}"), ports)
        with contextlib.ExitStack() as this_start:
            start = time.monotonic()
            this_start.enter_context(program)
            loads.wait_for_first_call(program, target, START_LIMIT_S)
            measured.first_call_s.append(time.monotonic() - start)
            if number == plan.starts - 1:
                for _ in range(WARM_UP_CALLS):
                    loads.get_small(target)
                    loads.upload(target, 10 * 1024)
                time.sleep(SETTLE_S)
                measured.idle_bytes = memory_bytes(tree_of(program.pid))
                ends.enter_context(this_start.pop_all())
                return _Running(stack, program, target, measured)
    raise BenchError(f"{stack.name}: a plan without starts")


def _measure_memory(one: _Running) -> None:
    """Read how far memory rises above idle beside a slow reader, then before a slow upstream: 1 GiB each."""
    if one.program is None:
        return
    tree = tree_of(one.program.pid)
    _say(f"{one.stack.name}: 1 GiB to a slow reader, 1 GiB to a slow upstream")
    reset_memory_peak(tree)
    loads.download(one.target, "1g", slow=True)
    one.measured.slow_reader_bytes = memory_bytes(tree, "VmHWM") - one.measured.idle_bytes
    reset_memory_peak(tree)
    loads.upload(one.target, FILES["1g"], slow=True)
    one.measured.slow_upstream_bytes = memory_bytes(tree, "VmHWM") - one.measured.idle_bytes


def _measure_load(one: _Running, load: loads.Requests | loads.Body, plan: Plan) -> None:
    tree = frozenset[int]() if one.program is None else tree_of(one.program.pid)
    before = cpu_s(tree)
    outcome = loads.run(load, one.target, plan.seconds, plan.bodies)
    used = cpu_s(tree) - before
    if one.program is not None:
        one.program.check_alive()
        if tree_of(one.program.pid) != tree:
            raise BenchError(f"{load.name}: processes came or went meanwhile, so their CPU is not known")
    measured = one.measured
    measured.cpu.setdefault(load.name, []).append(used / outcome.count)
    measured.rate.setdefault(load.name, []).append(outcome.count / outcome.seconds)
    if outcome.p50_us is not None and outcome.p99_us is not None:
        measured.p50_us.setdefault(load.name, []).append(outcome.p50_us)
        measured.p99_us.setdefault(load.name, []).append(outcome.p99_us)
