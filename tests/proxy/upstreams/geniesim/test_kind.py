import pytest

from blueprint_proxy.calls import Verdict
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.upstreams.geniesim.kind import GenieSimKind
from support.rpc import rpc_call

KIND = GenieSimKind()


def test_every_method_is_unary():
    assert KIND.unary("/aimdk.protocol.SimObservationService/reset")


@pytest.mark.parametrize(
    ("method", "message", "expected"),
    [
        ("/aimdk.protocol.SimObjectService/get_object_pose", b"", ("get_object_pose", True)),
        ("/aimdk.protocol.SimObservationService/get_observation", b"\x40\x01", ("get_observation#start", False)),
        ("/aimdk.protocol.SimObservationService/get_observation", b"", ("get_observation#read", True)),
        ("/aimdk.protocol.HalHandService/set_hand_command", b"", ("other", False)),
        ("/a.B/c", None, ("other", False)),
    ],
)
def test_an_operation_is_named_and_classed_by_its_method_and_message(method, message, expected):
    assert KIND.operation(method, message)[:2] == expected


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (Code.RESOURCE_EXHAUSTED, Verdict.FATAL),
        (Code.UNIMPLEMENTED, Verdict.FATAL),
        (Code.UNKNOWN, Verdict.RETRYABLE),
        (Code.UNAVAILABLE, Verdict.RETRYABLE),
    ],
)
def test_a_message_over_its_limit_says_nothing_about_its_health(code, verdict):
    assert KIND.judge(rpc_call(), RpcReply(Status(code), (), b"")) is verdict
