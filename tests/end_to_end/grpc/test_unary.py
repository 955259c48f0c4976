"""Unary calls through the proxy, against a real server, with a tap on the wire."""

import grpc
import pytest

from support.rpc_upstream import pairs, value

pytestmark = pytest.mark.end_to_end

MESSAGE = "hällo ☃ 100% \U0001f916\nsecond line"
DETAILS = b"\x08\x0e\x12\x03abc\x1a\x05\n\x03x/y\x00\xff"


def test_a_unary_call_comes_back_with_its_metadata_both_ways(scene):
    it = scene()

    def behave(messages, context, heard):
        heard.messages += list(messages)
        context.send_initial_metadata((("i", "1"), ("i", "2"), ("i-bin", b"\x00\xff,")))
        context.set_trailing_metadata((("t", "a"), ("t", "b"), ("t-bin", b"\xfe")))
        yield b"pong"

    it.server.on("/a.B/c", behave)
    reply, call = it.unary().with_call(b"ping", metadata=(("k", "1"), ("k", "2"), ("k-bin", b"\x00\xff,")), timeout=5)
    assert reply == b"pong"
    heard = it.server.heard[0]
    assert heard.messages == [b"ping"]
    assert heard.all("k") == ["1", "2"]
    assert heard.all("k-bin") == [b"\x00\xff,"]
    assert pairs(call.initial_metadata()) == [("i", "1"), ("i", "2"), ("i-bin", b"\x00\xff,")]
    trailing = pairs(call.trailing_metadata())
    assert [each for each in trailing if each[0].startswith("t")] == [("t", "a"), ("t", "b"), ("t-bin", b"\xfe")]
    assert value(trailing, "x-blueprint-upstream") == "svc"
    assert value(trailing, "x-blueprint-attempts") == "1"
    assert value(trailing, "x-blueprint-source") == "upstream"
    assert value(trailing, "x-request-id")


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "as a stream"])
@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_passes_with_its_message_and_details_byte_for_byte(shared, code, method):
    it = shared
    it.server.on(method, failing(code))
    error = it.fails(method)
    assert (error.code(), error.details()) == (code, MESSAGE)
    assert value(error.trailing_metadata(), "grpc-status-details-bin") == DETAILS
    assert [found for key, found in pairs(error.trailing_metadata()) if key == "t"] == ["1", "2"]
    assert value(error.trailing_metadata(), "x-blueprint-source") == "upstream"
    if method == "/a.B/c":  # of a stream that fails at once grpc.aio sometimes loses it
        assert pairs(error.initial_metadata()) == [("i", "1")]
    assert not [key for key, _ in pairs(error.trailing_metadata()) if key == "x-blueprint-error"]


def failing(code):
    def behave(messages, context, heard):
        context.send_initial_metadata((("i", "1"),))
        context.set_trailing_metadata((("grpc-status-details-bin", DETAILS), ("t", "1"), ("t", "2")))
        context.abort(code, MESSAGE)
        yield b""

    return behave


def test_what_belongs_to_one_hop_or_to_us_does_not_go_up(scene):
    it = scene()
    sent = (
        ("te", "gzip"), ("content-type", "text/x"), ("user-agent", "mine"), ("connection", "close"), ("host", "there"),
        ("keep-alive", "5"), ("proxy-authorization", "x"), ("x-blueprint-run", "r1"), ("x-blueprint-upstream", "svc"),
        ("x-blueprint-timeout-ms", "5000"), ("x-blueprint-operation", "x"), ("authorization", "Bearer mine"),
        ("grpc-foo", "1"), ("traceparent", "00-1"), ("x-request-id", "given.id"),
    )  # fmt: skip
    _, call = it.unary().with_call(b"x", metadata=sent)
    up = it.tap.only_request()
    assert up["te"] == "trailers"
    assert up["content-type"] == "application/grpc"
    assert up["user-agent"].startswith("grpc-python-asyncio/")
    assert up[":authority"] == it.tap.address
    assert up["authorization"] == "Bearer mine"
    assert up["grpc-foo"] == "1"
    assert up["traceparent"] == "00-1"
    assert up["x-request-id"] == "given.id"
    assert up["via"].startswith("2.0 blueprint-proxy-")
    names = {name for name, _ in up.fields}
    assert not {name for name in names if name.startswith("x-blueprint-")}
    assert not names & {"connection", "keep-alive", "host", "proxy-authorization"}
    assert value(call.trailing_metadata(), "x-request-id") == "given.id"


def test_no_key_of_ours_comes_down_from_an_upstream(scene):
    it = scene()

    def behave(messages, context, heard):
        context.send_initial_metadata((("x-blueprint-error", "forged"), ("i", "1")))
        context.set_trailing_metadata((("x-blueprint-source", "forged"), ("x-blueprint-upstream", "forged")))
        yield b""

    it.server.on("/a.B/c", behave)
    _, call = it.unary().with_call(b"x")
    assert pairs(call.initial_metadata()) == [("i", "1")]
    assert value(call.trailing_metadata(), "x-blueprint-source") == "upstream"
    assert value(call.trailing_metadata(), "x-blueprint-upstream") == "svc"


def test_messages_pass_up_to_the_limit_and_beyond_it_are_refused(scene):
    it = scene({"message_limit": "7MiB"})
    camera = bytes(range(256)) * 25_200  # 6.45 MB

    def behave(messages, context, heard):
        for message in messages:
            heard.messages.append(message)
            yield message + b"x" if message == b"too much" * 917_504 else message

    it.server.on("/a.B/c", behave)
    assert it.unary()(camera) == camera
    assert it.server.heard[0].messages == [camera]
    over = b"too much" * 917_504  # 7 MiB exactly: the reply is one byte longer
    error = it.fails(message=over)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert value(error.trailing_metadata(), "x-blueprint-error") == "too_large"
    assert value(error.trailing_metadata(), "x-blueprint-maybe-executed") == "true"
    # the listener's own limit is the largest of all upstreams
    error = it.fails(message=over + b"1")
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(it.server.heard) == 2


def test_the_default_limit_takes_what_the_library_alone_would_not(scene):
    it = scene()
    large = b"\1" * (63 * 1024 * 1024)
    assert it.unary()(large, timeout=60) == large


def test_large_metadata_passes(scene):
    it = scene(server={"options": [("grpc.max_metadata_size", 1 << 20), ("grpc.absolute_max_metadata_size", 1 << 20)]})
    channel = it.open(("grpc.max_metadata_size", 1 << 20), ("grpc.absolute_max_metadata_size", 1 << 20))

    def behave(messages, context, heard):
        context.set_trailing_metadata((("big", "y" * 100_000),))
        yield b""

    it.server.on("/a.B/c", behave)
    _, call = channel.unary_unary("/a.B/c").with_call(b"", metadata=(("big", "x" * 100_000),))
    assert it.server.heard[0].all("big") == ["x" * 100_000]
    assert value(call.trailing_metadata(), "big") == "y" * 100_000


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_arrive_whole_from_both_ends(scene, compression):
    it = scene()
    text = b"compress me " * 10_000

    def behave(messages, context, heard):
        context.set_compression(compression)
        for message in messages:
            heard.messages.append(message)
            yield message

    for method in ("/a.B/c", "/s.T/chat"):
        it.server.on(method, behave)
        assert it.unary(method)(text, compression=compression) == text
        assert it.server.heard[-1].messages == [text]
    assert [compressed for compressed, _ in it.tap.messages("down")] == [True, True]
    up = it.tap.requests()[0]
    assert up["grpc-accept-encoding"] == "identity, deflate, gzip"


def test_two_replies_do_not_share_a_request_id_unless_the_job_says_so(scene):
    it = scene()
    ids = {value(it.unary().with_call(b"")[1].trailing_metadata(), "x-request-id") for _ in range(3)}
    assert len(ids) == 3
    bad = value(
        it.unary().with_call(b"", metadata=(("x-request-id", "no spaces"),))[1].trailing_metadata(), "x-request-id"
    )
    assert bad != "no spaces"
    assert it.server.heard[-1].all("x-request-id") == []


def test_calls_are_counted_like_those_of_every_kind(scene):
    it = scene()
    it.server.on("/a.B/bad", failing(grpc.StatusCode.INVALID_ARGUMENT))
    it.unary()(b"12345")
    it.fails("/a.B/bad")
    list(it.stream()(iter([b"123", b"4567"])))
    text = it.proxy.get_admin("/metrics")[1].decode()
    assert 'blueprint_proxy_calls_total{operation="a.B/c",outcome="ok",upstream="svc"} 1.0' in text
    assert 'blueprint_proxy_calls_total{operation="a.B/bad",outcome="client_error",upstream="svc"} 1.0' in text
    assert 'blueprint_proxy_calls_total{operation="s.T/chat",outcome="ok",upstream="svc"} 1.0' in text
    assert 'blueprint_proxy_bytes_total{direction="in",upstream="svc"} 13.0' in text
    assert 'blueprint_proxy_bytes_total{direction="out",upstream="svc"} 12.0' in text
