"""A simulator without a socket, in virtual time: transport, port and identity of an upstream of kind geniesim.

Its answers name the request, so that each caller can tell its own. `executions` counts what ran, by method and message;
`lives` tells into which lives it was sent; `most_in_flight` how many calls were with it at once, handlers that a broken
connection left behind among them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Self, cast

from blueprint_proxy.config import load
from blueprint_proxy.errors import UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.upstreams.building import Surroundings
from blueprint_proxy.upstreams.geniesim.identity import Seen, Unseen
from blueprint_proxy.upstreams.rpc_building import build_simulator
from support.scripted_upstream import Heard

if TYPE_CHECKING:
    from pathlib import Path

    from blueprint_proxy.calls import Call
    from blueprint_proxy.upstreams.geniesim.upstream import GenieSimUpstream

TICK = 1 / 60
"""Seconds that a call takes."""
HANDLER = 0.4
"""Seconds after which a handler is over that a broken connection left behind."""
RESPAWN = 0.5
"""Seconds from the end of one life to the open port of the next."""

PATHS = {
    "get_object_pose": "/aimdk.protocol.SimObjectService/get_object_pose",
    "get_joint_position": "/aimdk.protocol.JointControlService/get_joint_position",
    "set_object_pose": "/aimdk.protocol.SimObservationService/set_object_pose",
    "set_frame_state": "/aimdk.protocol.SimObservationService/set_frame_state",
    "init_robot": "/aimdk.protocol.SimObservationService/init_robot",
    "exit": "/aimdk.protocol.SimObservationService/exit",
    "reset": "/aimdk.protocol.SimObservationService/reset",
}


def message(text: str) -> bytes:
    """A message whose field 1 is this text: what requests here are, and replies with msg."""
    data = text.encode()
    return bytes([0x0A, len(data)]) + data


class FakeSimulator:
    def __init__(self, *faults: str, visible: bool = True, respawn: float = RESPAWN) -> None:
        self.faults = list(faults)
        self.visible = visible
        self.respawn = respawn
        self.life = 1
        self.alive = True
        self.comes_back = True
        self.calls: list[Call] = []
        self.executions: Counter[tuple[str, bytes]] = Counter()
        self.lives: dict[tuple[str, bytes], set[int]] = {}
        self.in_flight = self.most_in_flight = 0
        self.open = 0
        self.active = self.idle = 0
        self.in_use: Any = bool
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left_behind: set[asyncio.Task[None]] = set()
        self._reviving: asyncio.TimerHandle | None = None

    # as the transport

    async def __call__(self, call: Call) -> RpcReply:
        self.calls.append(call)
        if not self.alive:
            raise UpstreamUnreachable("failed to connect to all addresses")
        self.open = 1
        name = call.target.decode().rpartition("/")[2]
        fault = self.faults.pop(0) if self.faults else ""
        body = call.body
        assert isinstance(body, bytes)
        self.lives.setdefault((name, body), set()).add(self.life)
        self._enter()
        if fault == "drop":
            left = asyncio.get_running_loop().create_task(self._left(name, body))
            self._left_behind.add(left)
            await asyncio.sleep(TICK / 2)
            self.open = 0
            raise UpstreamBroke("Stream removed (Socket closed)", sent=True)
        try:
            return await self._handle(name, body, fault)
        finally:
            self.in_flight -= 1

    async def connect(self, _limit: float) -> None:
        if self.alive:
            self.open = 1

    def close(self) -> None:
        """A pool's."""

    # as the port and the identity

    async def is_open(self) -> bool:
        return self.alive

    async def look(self) -> Seen | Unseen:
        return Seen(f"life {self.life}") if self.visible and self.alive else Unseen("it is hidden")

    # what happens to it

    def die(self) -> None:
        self.alive = False
        self.open = 0
        self.life += 1
        over, self._over = self._over, asyncio.get_running_loop().create_future()
        over.set_result(None)
        if self.comes_back:
            self._reviving = asyncio.get_running_loop().call_later(self.respawn, self._revive)

    async def end(self) -> None:
        if self._reviving is not None:
            self._reviving.cancel()
        if self._left_behind:
            await asyncio.wait(self._left_behind)

    def _revive(self) -> None:
        self.alive = True

    def _enter(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    async def _handle(self, name: str, body: bytes, fault: str) -> RpcReply:
        await asyncio.sleep(TICK)
        if fault.startswith("stall:"):
            await asyncio.sleep(float(fault.partition(":")[2]))
        if fault == "hang":
            await self._over
            raise UpstreamBroke("Stream removed (Socket closed)", sent=True)
        if fault == "kill_before":
            self.die()
        else:
            self.executions[name, body] += 1
        if fault == "kill_after":
            self.die()
        if fault.startswith("kill"):
            raise UpstreamBroke("Stream removed (Socket closed)", sent=True)
        if fault == "unknown":
            return RpcReply(Status(Code.UNKNOWN, "Exception calling application"), (), b"")
        if fault == "error":
            return RpcReply(Status(), (), message("ERROR: a fault that was asked for"))
        if name == "init_robot":
            return RpcReply(Status(), (), message("success"))
        return RpcReply(Status(), (), answer(name, body))

    async def _left(self, name: str, body: bytes) -> None:
        await asyncio.sleep(HANDLER)
        self.executions[name, body] += 1
        self.in_flight -= 1


def answer(name: str, body: bytes) -> bytes:
    """The right one."""
    return message(f"{name} of {body.hex()}")


class Station:
    """An upstream of kind geniesim around the fake, ticking as the application does. `async with`."""

    def __init__(self, sim: FakeSimulator, state: Path, config: str = "") -> None:
        self.sim = sim
        self.heard = Heard()
        self.sweep = Sweep(asyncio.get_running_loop())
        file = state / "config.yaml"
        state.mkdir(parents=True, exist_ok=True)
        file.write_text(config or "{}")
        self.config = load(file, {})
        around = Surroundings(
            telemetry=self.heard.telemetry, sweep=self.sweep, spool=state / "spool", secrets=cast("Any", None)
        )
        self.upstream: GenieSimUpstream = build_simulator(
            self.config.upstreams["geniesim"],
            around,
            None,
            sim,  # type: ignore[arg-type]  # in its place
            credential=None,
            drops_credentials=None,
        )
        self.supervisor = self.upstream.supervisor
        self.supervisor.watch.configure(sim, sim.is_open)
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.get_running_loop().create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._ticking is not None
        self._ticking.cancel()
        await asyncio.wait([self._ticking])
        await self.upstream.end()
        await self.sim.end()

    def call(self, name: str, body: bytes = b"", *, left: float | None = None, peer: str = "job") -> Any:
        """The call as the listener makes it; `left`: seconds of the job's own patience."""
        return self.upstream.rpc(PATHS[name], (), body, own={}, left=left, request_id="r", run=None, peer=peer)

    async def ask(self, name: str, body: bytes = b"", *, left: float | None = None, peer: str = "job") -> Any:
        """Its reply; Refusal is raised."""
        return await self.upstream.send(self.call(name, body, left=left, peer=peer))

    async def _tick(self) -> None:
        while True:
            self.upstream.tick(self.sweep.now())
            await asyncio.sleep(0.1)
