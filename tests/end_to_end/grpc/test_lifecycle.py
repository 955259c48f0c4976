"""Start, reload, drain, modes, the breaker: as for every kind."""

import signal
import threading
import time

import grpc
import pytest

from support.proxy import free_port
from support.rpc_upstream import PATIENCE, RpcUpstream, value, wait_until

pytestmark = pytest.mark.end_to_end


def test_a_drain_lets_calls_and_streams_end(scene):
    it = scene({"mode": "enforce"}, config={"drain": {"grace": "20s"}})
    go_on = threading.Event()

    def behave(messages, context, heard):
        yield b"1"
        assert go_on.wait(PATIENCE)
        yield b"2"

    def answer(messages, context, heard):
        assert go_on.wait(PATIENCE)
        yield b"done"

    it.server.on("/s.T/chat", behave)
    it.server.on("/a.B/c", answer)
    replies = it.stream()(iter([b"x"]))
    assert next(replies) == b"1"
    future = it.unary().future(b"x")
    it.server.wait_for(2)
    it.proxy.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in it.proxy.log)
    with pytest.raises(grpc.RpcError):
        it.open().unary_unary("/a.B/c")(b"", timeout=5)
    go_on.set()
    assert list(replies) == [b"2"]
    assert future.result(PATIENCE) == b"done"
    assert it.proxy.wait() == 0
    assert _drained(it) == [True]


def test_what_outlasts_the_grace_is_cut(scene):
    it = scene(config={"drain": {"grace": "300ms"}})

    def behave(messages, context, heard):
        yield b"1"
        heard.over.wait(PATIENCE)

    it.server.on("/s.T/chat", behave)
    replies = it.stream()(iter([b"x"]))
    assert next(replies) == b"1"
    it.proxy.signal(signal.SIGTERM)
    with pytest.raises(grpc.RpcError):
        next(replies)
    it.proxy.wait()
    assert _drained(it) == [False]
    assert it.server.wait_for(1).over.wait(PATIENCE)


def test_a_second_signal_cuts_at_once(scene):
    it = scene(config={"drain": {"grace": "1m"}})

    def behave(messages, context, heard):
        yield b"1"
        heard.over.wait(PATIENCE)

    it.server.on("/s.T/chat", behave)
    replies = it.stream()(iter([b"x"]))
    assert next(replies) == b"1"
    it.proxy.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in it.proxy.log)
    it.proxy.signal(signal.SIGTERM)
    it.proxy.wait()
    assert _drained(it) == [False]


def test_a_reload_leaves_calls_on_their_old_connection_and_closes_it_after_them(scene):
    it = scene()
    go_on = threading.Event()

    def behave(messages, context, heard):
        yield b"1"
        assert go_on.wait(PATIENCE)
        yield b"2"

    it.server.on("/s.T/chat", behave)
    replies = it.stream()(iter([b"x"]))
    assert next(replies) == b"1"
    settings = {**it.proxy.config["upstreams"]["svc"], "retry": {"attempts": 1}}
    it.proxy.write_config({"upstreams": {"svc": settings}})
    wait_until(lambda: it.proxy.log.count("configuration") >= 2)
    assert it.unary()(b"new") == b"new"
    assert len(it.tap.connections) == 2
    go_on.set()
    assert list(replies) == [b"2"]
    wait_until(lambda: _closed(it.tap.connections[0]))
    assert it.unary()(b"new") == b"new"
    assert len(it.tap.connections) == 2


def _drained(it):
    return [line["drained"] for line in it.proxy.log_events() if line["event"] == "stopped"]


def _closed(connection):
    try:
        return connection.near.recv(1, 0x42) == b""  # MSG_PEEK | MSG_DONTWAIT
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_reload_that_raises_the_message_limit_is_refused(scene):
    it = scene()
    settings = {**it.proxy.config["upstreams"]["svc"], "message_limit": "128MiB"}
    it.proxy.write_config({"upstreams": {"svc": settings}})
    wait_until(lambda: "message_limit cannot grow" in it.proxy.log)
    assert it.unary()(b"x") == b"x"


def test_a_port_that_is_taken_stops_the_start_with_a_sentence(scene):
    taken = RpcUpstream()
    with pytest.raises(AssertionError, match="the grpc listener cannot bind"):
        scene(config={"listen": {"grpc": f"127.0.0.1:{taken.port}"}})
    taken.stop()


def test_a_second_server_cannot_share_the_port(scene):
    it = scene()
    server = grpc.server(None, options=[("grpc.so_reuseport", 1)])
    with pytest.raises(RuntimeError):
        server.add_insecure_port(it.proxy.config["listen"]["grpc"])


TOUCHY = {"min_calls": 10_000, "consecutive": 3, "age": "10m", "open": "300ms", "open_cap": "300ms", "probes": 1}


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_failures_open_the_breaker_and_a_good_probe_closes_it(scene, method):
    it = scene({"breaker": TOUCHY})
    broken = [True]

    def behave(messages, context, heard):
        if broken:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        yield b"ok"

    it.server.on(method, behave)
    for _ in range(3):
        assert it.fails(method).details() == "broken"
    error = it.fails(method)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert value(error.trailing_metadata(), "x-blueprint-error") == "breaker_open"
    assert value(error.trailing_metadata(), "x-blueprint-not-sent") == "true"
    assert value(error.trailing_metadata(), "retry-after") == "1"
    assert 0 < int(value(error.trailing_metadata(), "grpc-retry-pushback-ms")) <= 300
    assert len(it.server.heard) == 3
    broken.clear()
    time.sleep(0.35)
    assert it.unary(method)(b"x") == b"ok"
    assert it.unary(method)(b"x") == b"ok"


def test_a_callers_own_mistakes_do_not_open_the_breaker(scene):
    it = scene({"breaker": TOUCHY})

    def behave(messages, context, heard):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "yours")
        yield b""

    for method in ("/a.B/c", "/s.T/chat"):
        it.server.on(method, behave)
        for _ in range(5):
            assert it.fails(method).details() == "yours"


def test_a_full_queue_is_overloaded_and_a_place_is_free_again_at_a_streams_end(scene):
    it = scene({"concurrency": {"limit": 1, "queue": 1, "queue_timeout": "200ms"}})
    go_on = threading.Event()

    def behave(messages, context, heard):
        yield b"1"
        assert go_on.wait(PATIENCE)

    it.server.on("/s.T/hold", behave)
    replies = it.stream("/s.T/hold")(iter([b"x"]))
    assert next(replies) == b"1"
    error = it.fails()
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert value(error.trailing_metadata(), "x-blueprint-error") == "overloaded"
    assert value(error.trailing_metadata(), "x-blueprint-not-sent") == "true"
    go_on.set()
    assert list(replies) == []
    assert it.unary()(b"x") == b"x"


def test_mode_off_relays_and_repeats_nothing(scene):
    it = scene({"mode": "off", "deadline": "1ms"})
    left = [1]

    def behave(messages, context, heard):
        if left and left.pop():
            context.abort(grpc.StatusCode.UNAVAILABLE, "no")
        yield b"ok"

    it.server.on("/a.Safe/get", behave)
    assert it.fails("/a.Safe/get").details() == "no"
    assert it.unary("/a.Safe/get")(b"x", timeout=9) == b"ok"
    assert [bool(up.all("grpc-timeout")) for up in it.tap.requests()] == [False, True]


def test_mode_observe_records_and_enforces_nothing(scene):
    it = scene({"mode": "observe", "deadline": "100ms"})

    def behave(messages, context, heard):
        heard.over.wait(0.4)
        yield b"late"

    for method in ("/a.Safe/get", "/s.T/chat"):
        it.server.on(method, behave)
        assert it.unary(method)(b"x") == b"late"
    assert [up.all("grpc-timeout") for up in it.tap.requests()] == [[], []]
    assert 'blueprint_proxy_would_have_total{upstream="svc",what="deadline_exceeded"} 2.0' in _metrics(it)


def _metrics(it):
    return it.proxy.get_admin("/metrics")[1].decode()


def test_the_credential_of_the_upstream_replaces_the_jobs_own(scene, tmp_path):
    key = tmp_path / "key"
    key.write_text("sesame")
    it = scene({"credential": {"file": str(key)}})
    for method in ("/a.B/c", "/s.T/chat"):
        it.unary(method)(b"x", metadata=(("authorization", "Bearer mine"),))
    assert [up.all("authorization") for up in it.tap.requests()] == [["Bearer sesame"]] * 2
    assert "sesame" not in it.proxy.log


def test_nothing_of_the_library_is_loaded_without_a_grpc_upstream(proxy):
    it = proxy({"upstreams": {"web": {"url": f"http://127.0.0.1:{free_port()}"}}})
    with open(f"/proc/{it.pid}/maps") as maps:  # noqa: PTH123 -- a line at a time
        assert not any("cygrpc" in line for line in maps)
