"""Which upstream a method goes to."""

from dataclasses import dataclass

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.inbound.rpc_routing import route


@dataclass(frozen=True)
class Up:
    name: str
    kind_name: str = "grpc"


SIM, SECOND_SIM, A, B = Up("geniesim", "geniesim"), Up("another", "geniesim"), Up("a"), Up("b")
POSE = "/aimdk.protocol.SimObjectService/get_object_pose"


def to(method, *upstreams, named=None):
    return route(method, named, {upstream.name.encode(): upstream for upstream in upstreams})


def test_the_metadata_names_the_upstream_before_everything_else():
    assert to(POSE, SIM, A, B, named="b") is B


def test_the_simulators_package_goes_to_the_simulator():
    assert to(POSE, A, B, SIM) is SIM
    assert to(POSE, SECOND_SIM, SIM, A) is SIM
    assert to(POSE, SECOND_SIM, A) is SECOND_SIM


def test_anything_else_goes_to_the_only_other_upstream():
    assert to("/x.Y/z", SIM, A) is A
    assert to("/aimdk.protocolX.Y/z", SIM, A) is A
    assert to(POSE, A) is A


@pytest.mark.parametrize(
    ("method", "upstreams", "named"),
    [
        ("/x.Y/z", (A, B), None),
        ("/x.Y/z", (SIM,), None),
        ("/x.Y/z", (), None),
        (POSE, (SIM, A), "c"),
        (POSE, (A, B), None),
    ],
)
def test_what_is_not_clear_is_refused_and_the_known_ones_are_named(method, upstreams, named):
    with pytest.raises(Refusal) as caught:
        to(method, *upstreams, named=named)
    assert (caught.value.reason, caught.value.sent) == (Reason.UNKNOWN_UPSTREAM, False)
    for upstream in upstreams:
        assert upstream.name in caught.value.message
