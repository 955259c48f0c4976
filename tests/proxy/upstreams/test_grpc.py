"""What is known of any gRPC service."""

from blueprint_proxy.calls import Verdict
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.upstreams.grpc import GrpcKind
from support.rpc import rpc_call
from support.scripted_upstream import reply

KIND = GrpcKind()


def test_an_operation_is_named_by_its_method_and_is_not_repeatable():
    assert KIND.operation("/pkg.Service/Method", b"x") == ("pkg.Service/Method", False, None)


def test_nobody_but_the_configuration_knows_what_is_unary():
    assert KIND.unary("/pkg.Service/Method") is None


def test_resource_exhausted_asks_for_patience_unless_a_message_was_too_large():
    def judged(message):
        return KIND.judge(rpc_call(), RpcReply(Status(Code.RESOURCE_EXHAUSTED, message), (), b""))

    assert judged("quota") is Verdict.THROTTLED
    assert judged("SERVER: Received message larger than max (5 vs. 4)") is Verdict.FATAL
    assert judged("grpc: received message larger than max (5 vs. 4)") is Verdict.FATAL


def test_a_reply_of_ours_is_judged_by_its_status():
    assert KIND.judge(rpc_call(), reply(503)) is Verdict.RETRYABLE
