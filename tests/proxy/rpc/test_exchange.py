"""What calls and replies of gRPC hold beyond others."""

import pytest

from blueprint_proxy.calls import Verdict
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcCall, RpcReply, Status
from blueprint_proxy.rpc.metadata import Metadata
from support.rpc import rpc_call


def test_a_copy_with_other_metadata_is_still_a_call_of_grpc():
    call = rpc_call(unary=False, previous=2, upward=5.0)
    copy = call.with_headers(Metadata((("a", "1"),)))
    assert isinstance(copy, RpcCall)
    assert (copy.unary, copy.previous, copy.upward, copy.operation) == (False, 2, 5.0, call.operation)
    assert (copy.headers.pairs, call.headers.pairs) == ((("a", "1"),), ())


@pytest.mark.parametrize(("code", "status"), [(Code.OK, 200), (Code.UNAVAILABLE, 503), (Code.UNIMPLEMENTED, 501)])
def test_a_replys_status_is_the_http_equivalent(code, status):
    assert RpcReply(Status(code), (), b"").status == status


def test_a_stream_has_its_status_at_its_end():
    reply = RpcReply(Status(), (("i", "1"),), b"")
    assert (reply.status, reply.verdict, reply.initial) == (200, Verdict.OK, (("i", "1"),))
    reply.end(Status(Code.DATA_LOSS, "gone"))
    assert (reply.status, reply.ended.message) == (500, "gone")
