"""The Markdown report: machine, versions, tables, and the targets of the product's speed and memory."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import loads
from bench.stacks import MIB, wrk_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Measured, Plan, Results

SUBJECT = "blueprint"


@dataclass(frozen=True)
class Verdict:
    """One target: what was asked, what was measured, whether it holds."""

    subject: str
    target: str
    measured: str
    met: bool


def verdicts(results: Results) -> list[Verdict]:
    """Hold the numbers against the targets. Empty when blueprint, nginx or Envoy has no numbers."""
    ours, nginx, envoy = (results.measured.get(name) for name in (SUBJECT, "nginx", "envoy"))
    if ours is None or nginx is None or envoy is None:
        return []
    found = []
    for load in (loads.GET_16.name, loads.GET_128.name):
        found += [
            _at_least(f"{load}: capacity against Envoy", _capacity(ours, envoy, load), 1.5, 2.0),
            _at_least(f"{load}: capacity against nginx", _capacity(ours, nginx, load), 0.4, 0.6),
        ]
    for load in (loads.DOWNLOAD.name, loads.UPLOAD.name):
        ratio = ours.cpu_median(load) / envoy.cpu_median(load)
        found.append(Verdict(f"{load}: CPU against Envoy", "at most 1.2", f"{ratio:.2f}", ratio <= 1.2))
    first = statistics.median(ours.first_call_s)
    found.append(Verdict("first call served after start", "under 1 s", f"{first:.2f} s", first < 1.0))
    for subject, limit, value in (
        ("idle RSS", 70, ours.idle_bytes),
        ("extra memory, 1 GiB to a slow reader", 16, ours.slow_reader_bytes),
        ("extra memory, 1 GiB to a slow upstream", 16, ours.slow_upstream_bytes),
    ):
        found.append(Verdict(subject, f"under {limit} MiB", f"{value / MIB:.1f} MiB", value < limit * MIB))
    return found


def _capacity(ours: Measured, peer: Measured, load: str) -> float:
    return peer.cpu_median(load) / ours.cpu_median(load)


def _at_least(subject: str, value: float, limit: float, aim: float) -> Verdict:
    return Verdict(subject, f"at least {limit:g}, aim {aim:g}", f"{value:.2f}", value >= limit)


def render(results: Results, plan: Plan) -> str:
    """Return the whole report."""
    names = [load.name for load in loads.LOADS]
    stacks = results.measured
    small = [load.name for load in loads.LOADS if isinstance(load, loads.Requests)]
    parts = [
        "# Benchmark: side by side in one run\n",
        _machine(plan),
        _table(("stack", "version"), [(name, one.version) for name, one in stacks.items()]),
    ]
    if results.failed:
        parts.append(_table(("left out", "why"), list(results.failed.items())))
    proxies = {name: one for name, one in stacks.items() if one.idle_bytes}
    parts += [
        "## CPU of the proxy's process tree\n\nMicroseconds a request; ms for a body of 256 MiB.\n",
        _table(("stack", *names), [(name, *(_cpu(one, load) for load in names)) for name, one in proxies.items()]),
    ]
    for base in ("envoy", "nginx"):
        if base in proxies:
            rows = [
                (name, *(f"{_capacity(one, proxies[base], load):.2f}" for load in names))
                for name, one in proxies.items()
            ]
            parts += [
                f"## Capacity per core, {base} = 1.00\n\nThe inverse of the CPU above: more is better.\n",
                _table(("stack", *names), rows),
            ]
    parts += [
        (
            "## Rate and latency, for information\n\n"
            "Load generator, proxy and upstream share the cores: requests/s, p50 / p99 in ms; MiB/s for bodies.\n"
        ),
        _table(
            ("stack", *names), [(name, *(_rate(one, load, small) for load in names)) for name, one in stacks.items()]
        ),
        "## Memory and start\n\nMiB of the process tree; extra is the peak above idle during 1 GiB.\n",
        _table(
            ("stack", "idle RSS", "extra, slow reader", "extra, slow upstream", "first call after start, ms"),
            [
                (
                    name,
                    f"{one.idle_bytes / MIB:.1f}",
                    f"{one.slow_reader_bytes / MIB:.1f}",
                    f"{one.slow_upstream_bytes / MIB:.1f}",
                    f"{statistics.median(one.first_call_s) * 1e3:.0f}",
                )
                for name, one in proxies.items()
            ],
        ),
        "## Targets\n",
    ]
    found = verdicts(results)
    if found:
        rows = [(one.subject, one.target, one.measured, "met" if one.met else "MISSED") for one in found]
        parts.append(_table(("of blueprint", "target", "measured", "verdict"), rows))
    else:
        parts.append("Not judged: they need numbers of blueprint, nginx and Envoy.\n")
    return "\n".join(parts)


def _machine(plan: Plan) -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    date = dt.datetime.now(dt.UTC).date().isoformat()
    return (
        f"{date}; {model}, {os.cpu_count()} cores, Linux {platform.release()}; wrk {wrk_version()}; load average at the"
        f" end {os.getloadavg()[0]:.1f}.\nMedians. Interleaved rounds: {plan.rounds}; seconds a load: {plan.seconds};"
        f" bodies of 256 MiB a load: {plan.bodies}; starts: {plan.starts}. Every proxy has one thread and keep-alive on"
        " both sides; Envoy has a retry policy, a per-try timeout and thresholds.\n"
    )


def _cpu(one: Measured, load: str) -> str:
    value = one.cpu_median(load)
    return f"{value * 1e6:.1f}" if load in one.p50_us else f"{value * 1e3:.0f}"


def _rate(one: Measured, load: str, small: Sequence[str]) -> str:
    rate = statistics.median(one.rate[load])
    if load not in small:
        return f"{rate * 256:,.0f}"
    p50, p99 = (statistics.median(found[load]) / 1e3 for found in (one.p50_us, one.p99_us))
    return f"{rate:,.0f}, {p50:.2f} / {p99:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
