"""A real proxy before the stand-in for Genie Sim: a process of its own, with the real one's mailbox and its faults."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.genie_sim.client import Caller
from support.genie_sim.process import GenieSim, simulators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.genie_sim.faults import Fault
    from support.genie_sim.process import StartGenieSim
    from support.proxy import RunningProxy, StartProxy

LIMIT = 20.0
"""Seconds until what must come has come, on a busy machine."""
SWIFT = {"retry": {"base": "10ms", "cap": "50ms"}, "endpoint_check": False}


class Scene:
    """A simulator, the proxy before it, and a job."""

    def __init__(self, sim: GenieSim, proxy: RunningProxy) -> None:
        self.sim = sim
        self.proxy = proxy
        self._opened: list[Caller] = []
        self.job = self.caller()

    @property
    def address(self) -> str:
        return str(self.proxy.config["listen"]["grpc"])

    def caller(self, run: str | None = "scene~job") -> Caller:
        """A client with a connection of its own; of a run, so that its repeats are known for what they are."""
        metadata = () if run is None else (("x-blueprint-run", run),)
        self._opened.append(Caller(self.address, metadata=metadata))
        return self._opened[-1]

    def init(self, timeout: float = 10.0) -> None:
        assert self.job.init_robot(timeout) == "success"

    def shown(self) -> dict[str, Any]:
        """The upstream as the operator sees it."""
        status, body = self.proxy.get_admin("/v1/upstreams")
        assert status == 200
        found: list[dict[str, Any]] = json.loads(body)
        return next(
            one for one in (found if isinstance(found, list) else found["upstreams"]) if one["name"] == "geniesim"
        )

    def until(self, holds: Callable[[dict[str, Any]], bool], limit: float = LIMIT) -> dict[str, Any]:
        """The simulator's part of it, when this holds."""
        deadline = time.monotonic() + limit
        while True:
            seen: dict[str, Any] = self.shown()["simulator"]
            if holds(seen):
                return seen
            assert time.monotonic() < deadline, f"still not so: {seen}\n{self.proxy.log[-3000:]}"
            time.sleep(0.02)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.proxy.log_events() if line.get("event") == name]

    def close(self) -> None:
        for caller in self._opened:
            caller.channel.close()


@pytest.fixture
def start_sim(tmp_path: Path) -> Iterator[StartGenieSim]:
    with simulators(tmp_path) as start:
        yield start


@pytest.fixture
def scene(start_sim: StartGenieSim, proxy: StartProxy) -> Iterator[Callable[..., Scene]]:
    """`scene(Fault(...), keys={of the upstream}, **settings of the stand-in)`; `keys` may ask the stand-in."""
    made: list[Scene] = []

    def make(
        *faults: Fault,
        init: bool = True,
        keys: dict[str, Any] | Callable[[GenieSim], dict[str, Any]] | None = None,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Scene:
        sim = start_sim(**settings)
        given = keys(sim) if callable(keys) else keys or {}
        running = proxy({"upstreams": {"geniesim": {"url": sim.url, **SWIFT, **given}}, **(config or {})})
        one = Scene(sim, running)
        made.append(one)
        if init:
            one.init()
            for fault in faults:
                sim.fault(fault)
        return one

    yield make
    for one in made:
        one.close()
