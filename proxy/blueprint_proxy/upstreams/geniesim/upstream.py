"""An upstream of kind geniesim: what serves its calls, and the supervisor of its simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from blueprint_proxy.policies.simulator import Phase
from blueprint_proxy.upstreams.geniesim import methods, poses
from blueprint_proxy.upstreams.rpc_upstream import RpcUpstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from typing import Any

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.config import BreakerSettings
    from blueprint_proxy.rpc.exchange import RpcCall
    from blueprint_proxy.upstreams.geniesim.supervisor import Supervisor
    from blueprint_proxy.upstreams.upstream import Upstream

UNREAD = "reading back did not work"


class GenieSimUpstream(RpcUpstream):
    """`supervisor` and `turn`, the layers from the lane inwards, are set where it is built."""

    supervisor: Supervisor
    turn: Next

    def send(self, call: Call) -> Awaitable[Reply]:
        """Through the lane, but for calls that are only relayed or observed: those go as they come."""
        return self.pipelines.guard(call) if call.settings.mode == "enforce" else self.pipelines.relay(call)

    @property
    def queued(self) -> int:
        return self.supervisor.turns.lane.queued

    def tick(self, now: float) -> None:
        self.supervisor.tick(now)

    async def quiet(self) -> None:
        await self.supervisor.turns.quiet()

    async def end(self) -> None:
        await self.supervisor.end()

    def keeps_closed(self, *, alone: bool) -> bool:
        """Whether the gRPC listener is not to accept now: the simulator's port does not, and that is to be seen.

        `alone`: no upstream of another kind is served there.
        """
        follows = self.settings.simulator.endpoint_check
        if follows is None:
            follows = alone
        watch = self.supervisor.watch
        return follows and (not watch.looked or self.supervisor.simulator.phase is Phase.DOWN)

    def is_followed_by(self, upstreams: Iterable[Upstream]) -> bool:
        """Whether one of these goes on with the same simulator."""
        return any(isinstance(other, GenieSimUpstream) and other.supervisor is self.supervisor for other in upstreams)

    async def retire(self) -> None:
        """End when the slot is empty."""
        await self.quiet()
        await self.end()

    def heartbeat(self) -> tuple[Next, RpcCall]:
        """The call that changes nothing, and the way that it goes."""
        method, message = methods.HEARTBEAT
        return self.turn, self._own(method, message)

    def read_back(self, call: Call) -> Awaitable[str] | None:
        """Ask where the object stands that the call was to put somewhere; None for any other call."""
        if not isinstance(call.body, bytes):
            return None
        wanted = poses.wanted(call.operation, call.body)
        return None if wanted is None else self._read_back(wanted)

    async def _read_back(self, wanted: poses.Wanted) -> str:
        prim = wanted.prim.decode("utf-8", "replace")[:200]
        reply: Any = await self.turn(self._own(poses.READ_BACK, poses.question(wanted.prim)))
        stands = poses.stands(reply.body, wanted.pose) if reply.status == 200 else None
        if stands is None:
            return UNREAD
        if stands:
            return f"read back: {prim} stands where this call wanted it, so its effect is there"
        return f"read back: {prim} does not stand where this call wanted it: not run, or moved since"

    def _own(self, method: str, message: bytes) -> RpcCall:
        """A call of this proxy's own."""
        return self.rpc(
            method, (), message, own={}, left=None, request_id="blueprint-proxy", run=None, peer="blueprint-proxy"
        )

    def _breaker_settings(self, settings: BreakerSettings) -> BreakerSettings:
        """One breaker for all methods: the supervisor looks at the age of a call, which each method has its own of."""
        return replace(settings, age=None)
