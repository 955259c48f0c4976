"""Where an SDK is to be pointed, and what its requests carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.environment import environment
from blueprint_clients.errors import ConfigurationError, SidecarUnreachable, UnknownUpstream
from blueprint_clients.leases import run_of_this_process
from blueprint_clients.notices import say_once
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from blueprint_clients.addresses import UpstreamAddress
    from blueprint_clients.sidecar import Sidecar

KEPT = "kept-by-blueprint-proxy"
"""Stands where an SDK insists on a key. The sidecar drops it and puts the real one in its place."""


def upstream_of(sidecar: Sidecar, kind: str, name: str | None) -> UpstreamAddress:
    """Find a service by name, or by its kind; UnknownUpstream where the sidecar has none, or does not serve it yet."""
    known = sidecar.addresses()
    found = known.of_kind(kind) if name is None else known.upstreams.get(name)
    if found is None:
        wanted = f"upstream of kind {kind}" if name is None else f"upstream {name!r}"
        raise UnknownUpstream(f"the sidecar has no {wanted}: add one to its configuration", status=404)
    if not found.served:
        raise UnknownUpstream(f"the sidecar does not serve {found.name} (kind {found.kind}) yet", status=404)
    return found


def present(kind: str, name: str | None) -> tuple[Sidecar, UpstreamAddress] | None:
    """Give the sidecar and the service for an SDK's settings; None, said once, where there is no sidecar."""
    sidecar = sidecar_of()
    if sidecar is None:
        return None
    try:
        return sidecar, upstream_of(sidecar, kind, name)
    except SidecarUnreachable as error:
        say_absent(error)
        return None


def say_absent(error: SidecarUnreachable) -> None:
    """Say once that calls are made without a sidecar."""
    say_once("absent", "no sidecar: calls go straight to their services, unguarded (%s)", error)


def url_of(sidecar: Sidecar, upstream: UpstreamAddress, *, with_run: bool = True) -> str:
    """Give the address of a service at the sidecar, with this process's run in it.

    ConfigurationError where the sidecar's data listener is a unix socket, which no stock SDK can reach.
    """
    base = sidecar.addresses().http
    if base.startswith("unix:"):
        raise ConfigurationError(f"SDKs cannot reach {base}, where the sidecar listens: give listen.http a TCP address")
    run = run_of_this_process() if with_run else None
    prefix = base.rstrip("/") if run is None else f"{base.rstrip('/')}/@{run}"
    return f"{prefix}/{upstream.name}"


def fields() -> dict[str, str]:
    """Give the fields that an SDK's requests need: the job's token, where one is set."""
    token = environment().token
    return {} if token is None else {"x-blueprint-token": token}
