"""What an attempt's trailers mean."""

import pytest

from blueprint_proxy.bodies.messages import MessageStream
from blueprint_proxy.calls import Verdict
from blueprint_proxy.layers.rpc_attempt import MakeRpcAttempt, hint
from blueprint_proxy.policies.rpc_hints import NEVER
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.telemetry.tracing import parse
from blueprint_proxy.upstreams.grpc import GrpcKind
from support.rpc import ScriptedMessages, rpc_call
from support.scripted_upstream import Heard, ScriptedUpstream, pipelines, reply
from support.virtual_time import virtual_time

TWO_SECONDS = b"\x1a0\n(type.googleapis.com/google.rpc.RetryInfo\x12\x04\n\x02\x08\x02"


def failed(code, message="", *trailing):
    return RpcReply(Status(code, message, trailing), (), b"")


async def attempted(answer, *, relaying=False, call=None):
    layer = MakeRpcAttempt(ScriptedUpstream(answer), kind=GrpcKind(), now=float, relaying=relaying)
    return await layer(call or rpc_call())


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (Code.OK, Verdict.OK), (Code.INVALID_ARGUMENT, Verdict.FATAL), (Code.UNIMPLEMENTED, Verdict.FATAL),
        (Code.UNAVAILABLE, Verdict.RETRYABLE), (Code.INTERNAL, Verdict.RETRYABLE), (Code.CANCELLED, Verdict.FATAL),
        (Code.RESOURCE_EXHAUSTED, Verdict.THROTTLED), (Code.UNKNOWN, Verdict.RETRYABLE),
    ],
)  # fmt: skip
@virtual_time
async def test_a_code_means_what_its_http_equivalent_means(code, verdict):
    assert (await attempted(failed(code))).verdict is verdict


@virtual_time
async def test_a_message_over_a_limit_is_the_callers_fault():
    answer = await attempted(failed(Code.RESOURCE_EXHAUSTED, "Sent message larger than max (20643840 vs. 16094304)"))
    assert answer.verdict is Verdict.FATAL


@pytest.mark.parametrize(
    ("trailing", "wait"),
    [
        ((), None),
        ((("grpc-retry-pushback-ms", "1500"),), 1.5),
        ((("grpc-status-details-bin", TWO_SECONDS),), 2.0),
        ((("grpc-retry-pushback-ms", "1500"), ("grpc-status-details-bin", TWO_SECONDS)), 2.0),
        ((("grpc-status-details-bin", TWO_SECONDS), ("grpc-retry-pushback-ms", "-1")), NEVER),
    ],
)
def test_the_longer_hint_counts_and_a_negative_one_forbids(trailing, wait):
    assert hint(Status(Code.UNAVAILABLE, "", trailing)) == wait


@virtual_time
async def test_a_forbidden_repeat_leaves_no_wait_behind():
    answer = await attempted(failed(Code.UNAVAILABLE, "", ("grpc-retry-pushback-ms", "-1")))
    assert (answer.repeat_forbidden, answer.retry_after) == (True, None)


@virtual_time
async def test_a_pushback_that_forbids_stops_the_retry_layer():
    upstream = ScriptedUpstream(failed(Code.UNAVAILABLE, "", ("grpc-retry-pushback-ms", "-1")), 200)
    made = pipelines(upstream, Heard(), make_attempt=MakeRpcAttempt)
    answer = await made.guard(rpc_call(repeatable=True))
    assert (answer.status, answer.attempts, answer.error, len(upstream.calls)) == (503, 1, None, 1)


@virtual_time
async def test_relaying_looks_for_no_hint():
    assert (
        await attempted(failed(Code.UNAVAILABLE, "", ("grpc-retry-pushback-ms", "1")), relaying=True)
    ).retry_after is None


@virtual_time
async def test_a_stream_is_judged_when_its_status_has_come():
    stream = MessageStream(ScriptedMessages(b"1", Status(Code.UNAVAILABLE, "gone")))
    answer = await attempted(RpcReply(Status(), (), stream), call=rpc_call(unary=False))
    ends = []
    stream.when_over(lambda error: ends.append((error, answer.verdict, answer.status)))
    await stream.next()
    assert answer.verdict is Verdict.OK
    await stream.next()
    assert ends == [(None, Verdict.RETRYABLE, 503)]
    assert answer.ended.message == "gone"


@virtual_time
async def test_a_streams_failure_at_its_end_counts_against_the_upstream():
    stream = MessageStream(ScriptedMessages(Status(Code.INTERNAL)))
    one = rpc_call(unary=False)
    answer = await pipelines(
        ScriptedUpstream(RpcReply(Status(), (), stream)), Heard(), make_attempt=MakeRpcAttempt
    ).guard(one)
    await stream.next()
    assert answer.verdict is Verdict.RETRYABLE
    assert one.policies.breaker.in_flight == 0


@virtual_time
async def test_what_is_no_reply_of_grpc_passes():
    assert (await attempted(reply(503))).status == 503


@virtual_time
async def test_each_attempt_is_a_new_child_of_the_jobs_trace():
    parent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    upstream = ScriptedUpstream(failed(Code.OK))
    layer = MakeRpcAttempt(upstream, kind=GrpcKind(), now=float)
    await layer(rpc_call(metadata=(("traceparent", parent.decode()), ("k", "v")), trace=parse(parent)))
    sent = upstream.calls[0].headers
    assert sent.values("k") == ["v"]
    (child,) = sent.values("traceparent")
    assert child.startswith("00-" + "a" * 32)
    assert child != parent.decode()


@pytest.mark.parametrize(
    ("code", "signed", "rejected"),
    [(Code.UNAUTHENTICATED, True, True), (Code.UNAUTHENTICATED, False, False), (Code.PERMISSION_DENIED, True, False)],
)
@virtual_time
async def test_our_credential_is_rejected_where_the_upstream_does_not_know_it(code, signed, rejected):
    layer = MakeRpcAttempt(ScriptedUpstream(failed(code)), kind=GrpcKind(), now=float, signed=signed)
    answer = await layer(rpc_call())
    assert (answer.rejected, answer.verdict) == (rejected, Verdict.FATAL)
