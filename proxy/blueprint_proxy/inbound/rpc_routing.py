"""From a method and its metadata to a gRPC upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from blueprint_proxy.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMULATOR = "geniesim"
SIMULATOR_PACKAGE = "/aimdk.protocol."
"""What the paths of Genie Sim's methods begin with."""


class Served(Protocol):
    """What routing asks of an upstream."""

    @property
    def name(self) -> str: ...

    @property
    def kind_name(self) -> str: ...


_Upstream = TypeVar("_Upstream", bound=Served)


def route(method: str, named: str | None, upstreams: Mapping[bytes, _Upstream]) -> _Upstream:
    """The upstream named by x-blueprint-upstream, else by the method's package, else the only one; or a Refusal."""
    if named is not None:
        found = upstreams.get(named.encode("latin-1"))
        if found is None:
            raise Refusal(
                Reason.UNKNOWN_UPSTREAM,
                f"no gRPC upstream {named[:80]!r} here; x-blueprint-upstream names one of: {_known(upstreams)}",
                sent=False,
            )
        return found
    simulators = [upstream for upstream in upstreams.values() if upstream.kind_name == SIMULATOR]
    if simulators and method.startswith(SIMULATOR_PACKAGE):
        return next((upstream for upstream in simulators if upstream.name == SIMULATOR), simulators[0])
    others = [upstream for upstream in upstreams.values() if upstream.kind_name != SIMULATOR]
    if len(others) == 1:
        return others[0]
    raise Refusal(
        Reason.UNKNOWN_UPSTREAM,
        f"{method[:200]}: which upstream is not clear; name it in the metadata x-blueprint-upstream, one of: "
        f"{_known(upstreams)}",
        sent=False,
    )


def _known(upstreams: Mapping[bytes, _Upstream]) -> str:
    return ", ".join(sorted(upstream.name for upstream in upstreams.values())) or "none"
