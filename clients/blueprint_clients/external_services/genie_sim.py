"""Genie Sim: its methods as typed calls, and the address for a job's own gRPC stubs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from blueprint_clients.environment import environment
from blueprint_clients.errors import SidecarUnreachable
from blueprint_clients.external_services.calls import CURRENT
from blueprint_clients.external_services.client import ServiceClient
from blueprint_clients.external_services.configuration import checked_timeout
from blueprint_clients.external_services.pointing import say_absent
from blueprint_clients.external_services.simulator_routes import OWN_TARGET, route_to, served_at
from blueprint_clients.external_services.statistics import THROUGH
from blueprint_clients.genie_sim import errors
from blueprint_clients.genie_sim.answers import SOURCE, answer_of, attempts_of, epoch_of, error_of, words_of
from blueprint_clients.genie_sim.deadlines import usual_wait
from blueprint_clients.genie_sim.endpoint import connect_once
from blueprint_clients.genie_sim.epochs import Epochs
from blueprint_clients.genie_sim.messages import load
from blueprint_clients.genie_sim.methods import GenieSimMethods
from blueprint_clients.genie_sim.requests import request_of
from blueprint_clients.genie_sim.ways import Asking
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from blueprint_clients.errors import BlueprintError
    from blueprint_clients.external_services.configuration import ServiceClientConfig
    from blueprint_clients.external_services.ways import Ended
    from blueprint_clients.sidecar import Sidecar

DEFAULT_TIMEOUT_S = 300.0
"""Loading a scene and robot took 117 s and 147 s; a step takes far less, and has its own limit in the sidecar."""

READY_S = 300.0
"""The simulator listens 45 s after its start and answers after 90 s; twice that is no rarity on a busy machine."""

LOOK_AGAIN_S = 0.5
"""Between two questions whether it is ready, where the sidecar does not say when."""

HEARTBEAT = {"metric": "{}"}
"""The one request, of set_task_metric, that passes the simulator's loop and changes nothing; it needs no robot."""

NEVER_READY = (
    errors.BadRequest, errors.Unauthenticated, errors.Forbidden, errors.NoSuchUpstream, errors.CallFailed,
    errors.AppError,
)  # fmt: skip
"""What waiting does not change."""


class GenieSimClient(ServiceClient, GenieSimMethods):
    """What `create_genie_sim_client()` makes: every method of the simulator, and `call` for a job's own stubs.

    The methods go through the sidecar, which keeps the simulator's one place, repeats what may be repeated and knows
    the simulator's life. This client repeats nothing; only a call that has found no connection, and so has not left,
    waits up to 10 s for a sidecar that restarts. Without a sidecar they go straight to the simulator, unguarded, one at
    a time in this process. Safe for threads and for fork: a forked child makes its own channel.
    """

    kind = "geniesim"

    def __init__(self, config: ServiceClientConfig, *, on_new_epoch: Callable[[int], object] | None = None) -> None:
        super().__init__(config)
        self._handed_out = False
        self._epochs = Epochs(on_new_epoch)

    @property
    def target(self) -> str:
        """HOST:PORT for grpc.insecure_channel: the sidecar's, or without a sidecar GENIESIM_HOST and GENIESIM_PORT.

        GenieSimAPIError while this sidecar serves no gRPC.
        """
        sidecar = sidecar_of()
        if sidecar is not None:
            try:
                target = served_at(sidecar)
            except SidecarUnreachable as error:
                say_absent(error)
            else:
                self._handed_out = True
                return target
        return environment().geniesim_address or OWN_TARGET

    @property
    def epoch(self) -> int | None:
        """The simulator's life, from 1, as the newest answer or refusal said; None before one, or without a sidecar."""
        return self._epochs.newest

    @property
    def on_new_epoch(self) -> Callable[[int], object] | None:
        """Called with the epoch when the simulator is seen to have been restarted: whatever was in it is gone.

        Once for each epoch after the first, in the thread whose call saw it and before that call returns or raises;
        what it raises, the call raises. It may make calls, as init_robot. A restart that an init_robot of this client
        is the first to see is not told: the job knows.
        """
        return self._epochs.on_new

    @on_new_epoch.setter
    def on_new_epoch(self, on_new: Callable[[int], object] | None) -> None:
        self._epochs.on_new = on_new

    def wait_until_ready(self, timeout: float = READY_S) -> None:
        """Return when the simulator's loop answers, with or without a robot in it; `timeout` in seconds.

        CallTimedOut after it, with the last failure as its cause; what waiting cannot mend is raised at once.
        """
        deadline = time.monotonic() + checked_timeout(timeout)
        last: errors.GenieSimCallError | None = None
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._ask("set_task_metric", left, HEARTBEAT)
            except NEVER_READY:
                raise
            except errors.GenieSimCallError as failure:
                last = failure
            else:
                return
            time.sleep(max(0.0, min(last.retry_after or LOOK_AGAIN_S, deadline - time.monotonic())))
        raise errors.CallTimedOut(f"Genie Sim was not ready within {timeout:g} s: {last}", epoch=self.epoch) from last

    def check_endpoint(self, timeout: float = 5.0) -> None:
        """Connect once to where calls go, as the guide's check does; SimulatorUnreachable where nobody listens.

        The sidecar takes connections only while the simulator's own port is open, unless it is configured otherwise.
        A simulator that hangs keeps its port open: wait_until_ready sees more.
        """
        target = self.target
        try:
            connect_once(target, timeout)
        except OSError as refused:
            raise errors.SimulatorUnreachable(f"Cannot connect to {target}: {refused}", not_sent=True) from refused

    def _ask(self, method: str, timeout: float | None, fields: Mapping[str, Any], /) -> Message:
        known = load().methods[method]
        request = request_of(known, fields)
        began = time.monotonic()
        asking = Asking(method, known.path, request, self._deadline(method, timeout, began))
        if self._pace is not None:
            self._pace.acquire()
        way = THROUGH  # what stands in the way of a route is the sidecar's word
        try:
            route = route_to(self.config.upstream, method)
            way, self._upstream = route.way, route.upstream or self._upstream
            self._step_aside(route.upstream)
            answered = route.ask(asking)
            answer = answer_of(known, answered)
        except BaseException as error:
            self._failed(way, asking, began, error)
            raise
        attempts = attempts_of(answered.words) or 1
        self._statistics.ended(way, began, asking.deadline, attempts=attempts, succeeded=True, refused=False)
        self._epochs.saw(epoch_of(answered.words), tell=method != "init_robot")
        return answer

    @staticmethod
    def _deadline(method: str, timeout: float | None, began: float) -> float:
        deadline = began + (usual_wait(method) if timeout is None else checked_timeout(timeout))
        outer = CURRENT.get().deadline
        return deadline if outer is None else min(deadline, outer)

    def _step_aside(self, upstream: str | None) -> None:
        """Give back the permit of a function that goes through after all: it would wait for the permit's own place."""
        current = CURRENT.get()
        if upstream in current.holds and current.give_back is not None:
            current.give_back()
            self._learned = True

    def _failed(self, way: str, asking: Asking, began: float, error: BaseException) -> None:
        told = error if isinstance(error, errors.GenieSimCallError) else None
        attempts = 0 if told is None else told.attempts
        refused = way == THROUGH and told is not None and not isinstance(told, (errors.AppError, errors.CallFailed))
        self._statistics.ended(way, began, asking.deadline, attempts=attempts, succeeded=False, refused=refused)
        if told is not None:
            self._breaker_says(told)
            self._epochs.saw(told.epoch)

    def _shown(self, ended: Ended) -> bool | None:
        """What a job's own stub raised shows it: only the sidecar has these words."""
        return True if SOURCE in _words_of_a_stub(ended.error) else super()._shown(ended)

    def _refusal(self, ended: Ended) -> BlueprintError | None:
        """Read the sidecar's refusal from what a job's own stub raised, too."""
        if _words_of_a_stub(ended.error).get(SOURCE) == "proxy":
            return error_of("call", ended.error, through=True)
        return super()._refusal(ended)

    def _guess(self, sidecar: Sidecar) -> bool:
        grpc, own = sidecar.addresses().grpc, environment().geniesim_address
        return grpc is not None and (self._handed_out or (own is not None and _place(own) == _place(grpc)))


def _words_of_a_stub(error: Exception | None) -> dict[str, str]:
    """Read the trailing metadata of a grpc.RpcError, known by its shape: a job need not have this release's grpc."""
    trailing = getattr(error, "trailing_metadata", None)
    return words_of(trailing()) if callable(trailing) else {}


def _place(target: str) -> tuple[str, str]:
    host, _, port = target.rpartition(":")
    return "localhost" if host in {"127.0.0.1", "[::1]", "localhost"} else host, port
