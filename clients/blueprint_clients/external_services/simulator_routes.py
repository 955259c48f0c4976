"""Where a typed call to Genie Sim goes: to the sidecar's gRPC listener, or to the simulator itself.

A process whose calls have gone through a sidecar stays with it: while it is away, SidecarGone. The simulator may still
be at work on a call that went through, and one around the sidecar would get that call's answer.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from blueprint_clients.environment import environment
from blueprint_clients.errors import BlueprintError, GenieSimAPIError, SidecarUnreachable
from blueprint_clients.external_services.pointing import fields, say_absent, upstream_of
from blueprint_clients.external_services.statistics import THROUGH, UNGUARDED
from blueprint_clients.genie_sim.channels import line_to
from blueprint_clients.genie_sim.errors import SidecarGone, as_genie_sims
from blueprint_clients.genie_sim.lane import lane_to
from blueprint_clients.genie_sim.ways import straight, through
from blueprint_clients.leases import run_of_this_process
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_clients.genie_sim.answers import Answered
    from blueprint_clients.genie_sim.channels import Metadata
    from blueprint_clients.genie_sim.ways import Asking
    from blueprint_clients.sidecar import Sidecar

OWN_TARGET = "localhost:50051"

_gone_through: weakref.WeakSet[Sidecar] = weakref.WeakSet()


class Route(NamedTuple):
    """`way` is one of the statistics'; `upstream` is the sidecar's name of the simulator, None without a sidecar."""

    way: str
    upstream: str | None
    ask: Callable[[Asking], Answered]


def route_to(name: str | None, method: str) -> Route:
    """Give the route of a call of `method` now; `name` is the upstream's where there are several of the kind.

    Raises the GenieSimCallError of what stands in the way, GenieSimAPIError while the sidecar serves no gRPC.
    """
    sidecar = sidecar_of()
    if sidecar is not None:
        try:
            target = served_at(sidecar)
            upstream = upstream_of(sidecar, "geniesim", name).name
        except SidecarUnreachable as away:
            if sidecar in _gone_through:
                raise as_genie_sims(away, method) from away
            say_absent(away)
        except BlueprintError as refused:
            raise as_genie_sims(refused, method) from refused
        else:
            _gone_through.add(sidecar)
            return Route(THROUGH, upstream, partial(_through, sidecar, target, _metadata(upstream)))
    target = environment().geniesim_address or OWN_TARGET
    return Route(UNGUARDED, None, partial(straight, line_to(target), lane_to(target)))


def served_at(sidecar: Sidecar) -> str:
    """Give the address of its gRPC listener; GenieSimAPIError while it has none. May raise SidecarUnreachable."""
    target = sidecar.addresses().grpc
    if target is None:
        raise GenieSimAPIError(
            "this sidecar does not serve gRPC: connect to the simulator itself, and guard calls with call()"
        )
    return target


def _through(sidecar: Sidecar, target: str, metadata: Metadata, asking: Asking) -> Answered:
    try:
        return through(line_to(target, tls=sidecar.tls), metadata, asking)
    except SidecarGone:
        sidecar.forget_addresses()  # the one that comes back may listen elsewhere
        raise


def _metadata(upstream: str) -> Metadata:
    run = run_of_this_process()
    said = {"x-blueprint-upstream": upstream, **fields()}
    if run is not None:
        said["x-blueprint-run"] = run
    return tuple(said.items())
