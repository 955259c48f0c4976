"""Genie Sim: the address for its gRPC client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.environment import environment
from blueprint_clients.errors import GenieSimAPIError, SidecarUnreachable
from blueprint_clients.external_services.client import ServiceClient
from blueprint_clients.external_services.pointing import say_absent
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from blueprint_clients.sidecar import Sidecar

DEFAULT_TIMEOUT_S = 300.0
"""Loading a scene and robot took 117 s and 147 s; a step takes far less, and has its own limit in the sidecar."""

OWN_TARGET = "localhost:50051"


class GenieSimClient(ServiceClient):
    """What `create_genie_sim_client()` makes."""

    kind = "geniesim"

    @property
    def target(self) -> str:
        """HOST:PORT for grpc.insecure_channel: the sidecar's, or without a sidecar GENIESIM_HOST and GENIESIM_PORT.

        GenieSimAPIError while this sidecar serves no gRPC.
        """
        sidecar = sidecar_of()
        if sidecar is not None:
            try:
                target = sidecar.addresses().grpc
            except SidecarUnreachable as error:
                say_absent(error)
            else:
                if target is None:
                    raise GenieSimAPIError(
                        "this sidecar does not serve gRPC: connect to the simulator itself, and guard calls with call()"
                    )
                return target
        return environment().geniesim_address or OWN_TARGET

    def _guess(self, sidecar: Sidecar) -> bool:
        grpc, own = sidecar.addresses().grpc, environment().geniesim_address
        return grpc is not None and own is not None and _place(own) == _place(grpc)


def _place(target: str) -> tuple[str, str]:
    host, _, port = target.rpartition(":")
    return "localhost" if host in {"127.0.0.1", "[::1]", "localhost"} else host, port
