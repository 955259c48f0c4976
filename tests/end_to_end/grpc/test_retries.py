"""Repeats of unary calls, decided on trailers."""

import time

import grpc
import pytest

from support.h2_upstream import H2Upstream
from support.proxy import free_port
from support.rpc_upstream import RpcUpstream, value

pytestmark = pytest.mark.end_to_end

SAFE = "/a.Safe/get"
RETRY_INFO = b"\x08\x0e\x12\x01x\x1a.\n(type.googleapis.com/google.rpc.RetryInfo\x12\x02\n\x00"
"""A google.rpc.Status with a RetryInfo of no seconds."""


def fail_then_answer(times, code=grpc.StatusCode.UNAVAILABLE, trailing=()):
    left = [times]

    def behave(messages, context, heard):
        heard.messages += list(messages)
        if left[0] > 0:
            left[0] -= 1
            context.set_trailing_metadata(trailing)
            context.abort(code, "not now")
        yield b"done"

    return behave


def test_a_repeatable_call_is_repeated_until_it_succeeds(scene):
    it = scene()
    it.server.on(SAFE, fail_then_answer(2))
    reply, call = it.unary(SAFE).with_call(b"x", metadata=(("k", "v"),))
    assert reply == b"done"
    assert value(call.trailing_metadata(), "x-blueprint-attempts") == "3"
    assert [heard.messages for heard in it.server.heard] == [[b"x"]] * 3
    assert [heard.all("k") for heard in it.server.heard] == [["v"]] * 3


def test_repeats_say_on_the_wire_how_many_attempts_came_before(scene):
    it = scene()
    it.server.on(SAFE, fail_then_answer(2))
    it.unary(SAFE)(b"x")
    assert [up.all("grpc-previous-rpc-attempts") for up in it.tap.requests()] == [[], ["1"], ["2"]]


def test_a_repeat_by_the_jobs_own_client_is_counted_on(scene):
    it = scene()
    it.server.on(SAFE, fail_then_answer(1))
    channel = it.open(("grpc.enable_retries", 0))
    channel.unary_unary(SAFE)(b"x", metadata=(("grpc-previous-rpc-attempts", "2"),))
    assert [up["grpc-previous-rpc-attempts"] for up in it.tap.requests()] == ["2", "3"]


def test_a_call_that_may_not_be_repeated_fails_as_the_upstream_failed(scene):
    it = scene()
    it.server.on("/a.B/c", fail_then_answer(9))
    error = it.fails()
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "not now")
    assert value(error.trailing_metadata(), "x-blueprint-source") == "upstream"
    assert value(error.trailing_metadata(), "x-blueprint-attempts") == "1"
    assert len(it.server.heard) == 1


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.ABORTED],
)
def test_a_status_that_is_not_listed_is_not_repeated(scene, code):
    it = scene()
    it.server.on(SAFE, fail_then_answer(9, code))
    assert it.fails(SAFE).code() is code
    assert len(it.server.heard) == 1


def test_when_attempts_are_exhausted_the_last_answer_passes_and_the_jobs_client_is_told_to_stop(scene):
    it = scene()
    it.server.on(SAFE, fail_then_answer(9, trailing=(("grpc-status-details-bin", RETRY_INFO), ("t", "1"))))
    error = it.fails(SAFE)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "not now")
    trailing = error.trailing_metadata()
    assert value(trailing, "grpc-status-details-bin") == RETRY_INFO
    assert value(trailing, "t") == "1"
    assert value(trailing, "x-blueprint-error") == "attempts_exhausted"
    assert value(trailing, "x-blueprint-attempts") == "3"
    assert value(trailing, "grpc-retry-pushback-ms") == "-1"


def test_the_jobs_own_retry_policy_does_not_multiply_ours(scene):
    it = scene()
    it.server.on(SAFE, fail_then_answer(99))
    policy = (
        '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.01s", '
        '"maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}'
    )
    channel = it.open(("grpc.service_config", policy))
    with pytest.raises(grpc.RpcError):
        channel.unary_unary(SAFE)(b"x")
    assert len(it.server.heard) == 3


@pytest.mark.parametrize("pushback", ["-1", "-5", "soon", "", "1.5"])
def test_a_pushback_that_is_negative_or_no_number_forbids_every_repeat(scene, pushback):
    it = scene()
    it.server.on(SAFE, fail_then_answer(9, trailing=(("grpc-retry-pushback-ms", pushback),)))
    error = it.fails(SAFE)
    assert len(it.server.heard) == 1
    assert int(value(error.trailing_metadata(), "grpc-retry-pushback-ms")) < 0


def test_a_pushback_is_a_floor_for_the_wait(scene):
    it = scene()
    it.server.on(SAFE, fail_then_answer(1, trailing=(("grpc-retry-pushback-ms", "400"),)))
    began = time.monotonic()
    assert it.unary(SAFE)(b"x") == b"done"
    assert time.monotonic() - began >= 0.4


def test_retry_info_in_the_details_is_a_floor_for_the_wait(scene):
    it = scene()
    details = (
        b"\x08\x0e\x12\x01x\x1a3\n(type.googleapis.com/google.rpc.RetryInfo\x12\x07\n\x05\x10\x80\x84\xaf_"  # 0.2 s
    )
    it.server.on(SAFE, fail_then_answer(1, trailing=(("grpc-status-details-bin", details),)))
    began = time.monotonic()
    assert it.unary(SAFE)(b"x") == b"done"
    assert time.monotonic() - began >= 0.2


def test_a_hint_beyond_the_deadline_fails_at_once(scene):
    it = scene()
    it.server.on(
        SAFE,
        fail_then_answer(9, grpc.StatusCode.RESOURCE_EXHAUSTED, trailing=(("grpc-retry-pushback-ms", "60000"),)),
    )
    began = time.monotonic()
    error = it.fails(SAFE, timeout=20)
    assert time.monotonic() - began < 10
    assert value(error.trailing_metadata(), "x-blueprint-error") == "rate_limited"
    assert value(error.trailing_metadata(), "retry-after") == "60"
    assert len(it.server.heard) == 1


def test_a_stream_is_never_repeated_once_it_was_sent(scene):
    it = scene()
    it.server.on("/s.T/chat", fail_then_answer(1))
    with pytest.raises(grpc.RpcError) as caught:
        list(it.stream()(iter([b"1"])))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(it.server.heard) == 1


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_an_upstream_that_is_not_there_is_unreachable_and_nothing_was_sent(scene, method):
    it = scene({"url": f"grpc://127.0.0.1:{free_port()}"})
    error = it.fails(method)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details().startswith(
        f"blueprint-proxy: upstream svc, {method[1:]}: failed to connect to all addresses"
    )
    assert error.details().endswith("after 3 attempts")
    trailing = error.trailing_metadata()
    assert value(trailing, "x-blueprint-error") == "upstream_unreachable"
    assert value(trailing, "x-blueprint-not-sent") == "true"
    assert value(trailing, "x-blueprint-attempts") == "3"
    assert value(trailing, "x-blueprint-source") == "proxy"


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unsafe", "stream"])
def test_what_was_provably_not_sent_is_sent_again_whatever_it_is(scene, method):
    port = free_port()
    it = scene({"url": f"grpc://127.0.0.1:{port}", "retry": {"attempts": 5, "base": "400ms", "cap": "400ms"}})
    future = it.unary(method).future(b"x")
    time.sleep(0.2)
    late = RpcUpstream(port)
    assert future.result(20) == b"x"
    late.stop()


def test_a_connection_lost_after_sending_leaves_an_unsafe_call_maybe_executed(scene):
    it = scene()

    def cut(messages, context, heard):
        it.tap.cut(reset=True)
        heard.over.wait(10)
        yield b""

    it.server.on("/a.B/c", cut)
    error = it.fails()
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert value(error.trailing_metadata(), "x-blueprint-error") == "upstream_unreachable"
    assert value(error.trailing_metadata(), "x-blueprint-maybe-executed") == "true"
    assert len(it.server.heard) == 1


def test_a_connection_lost_after_sending_is_no_obstacle_for_a_repeatable_call(scene):
    it = scene()
    cuts = [1]

    def cut(messages, context, heard):
        if cuts.pop() if cuts else 0:
            it.tap.cut(reset=True)
            heard.over.wait(10)
        yield b"done"

    it.server.on(SAFE, cut)
    assert it.unary(SAFE)(b"x") == b"done"
    assert len(it.server.heard) == 2


def test_an_upstreams_own_failed_to_connect_does_not_count_as_not_sent(scene):
    it = scene()

    def gateway(messages, context, heard):
        context.abort(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: behind me")
        yield b""

    it.server.on("/a.B/c", gateway)
    error = it.fails()
    assert error.details() == "failed to connect to all addresses; last error: behind me"
    assert value(error.trailing_metadata(), "x-blueprint-source") == "upstream"
    assert len(it.server.heard) == 1


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_a_stream_that_the_upstream_refused_was_not_processed_and_is_sent_again(scene, method):
    def script(connection, stream, headers):
        if len(upstream.requests) == 1:
            connection.refuse(stream)
        else:
            connection.reply(stream, b"second")

    upstream = H2Upstream(script)
    it = scene({"url": f"grpc://127.0.0.1:{upstream.port}"})
    if method == "/a.B/c":
        assert it.unary(method)(b"unsafe") == b"second"
    else:  # a stream may have sent more than is kept here
        assert it.fails(method).code() is grpc.StatusCode.UNAVAILABLE
    assert len(upstream.requests) == (2 if method == "/a.B/c" else 1)
    upstream.stop()


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_a_goaway_that_leaves_a_call_out_is_unseen(scene, method):
    def script(connection, stream, headers):
        if connection.number == 0 and connection.streams == 2:
            connection.go_away(stream - 2)  # the second call came too late
        else:
            connection.reply(stream, b"%d" % connection.number)

    upstream = H2Upstream(script)
    it = scene({"url": f"grpc://127.0.0.1:{upstream.port}"})
    assert it.unary(method)(b"1") == b"0"
    assert it.unary(method)(b"2") == b"1"
    assert len(upstream.requests) == 3
    upstream.stop()


def test_a_message_that_is_too_large_for_the_upstream_is_not_repeated_and_slows_nothing(scene):
    it = scene(server={"options": [("grpc.max_receive_message_length", 1000)]})
    error = it.fails(SAFE, b"x" * 2000)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1000" in error.details()
    assert value(error.trailing_metadata(), "x-blueprint-attempts") == "1"
    assert it.unary(SAFE)(b"x") == b"x"
