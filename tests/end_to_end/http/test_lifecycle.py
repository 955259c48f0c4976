"""Starting, reloading, draining, and the ways in and out: unix sockets and TLS."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.wire import PATIENCE, CutShortError, chunked_head, reply, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.proxy import RunningProxy, StartProxy
    from support.raw_upstream import RawUpstream, StartUpstream, UpstreamConnection


def one_upstream(server: RawUpstream, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"it": {"kind": "http", "url": server.url, "retry": {"attempts": 1}, **more}}}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def held(server: RawUpstream) -> threading.Event:
    """The server answers each request with its target once the event is set."""
    release = threading.Event()

    def handle(sent: Any, connection: UpstreamConnection) -> bytes:
        connection.wait(release)
        body: bytes = sent.target
        return reply(200, body)

    server.serve(handle)
    return release


def takes_no_calls(running: RunningProxy) -> bool:
    """True once a new connection is refused, or answered with `draining`."""
    try:
        client = running.client()
        answer = client.call("GET", "/nowhere/x")
        client.close()
    except (ConnectionError, CutShortError):
        return True
    if answer.status == 404:
        return False
    assert (answer.status, answer.error) == (503, "draining")
    return True


def test_sigterm_lets_a_call_in_flight_end(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    release = held(server)
    running = proxy(one_upstream(server))
    client = running.client()
    client.send(request("GET", "/it/slow"))
    server.wait_for_requests(1)
    running.signal(signal.SIGTERM)
    eventually(lambda: takes_no_calls(running))
    assert running.alive
    release.set()
    assert client.read_reply().body == b"/slow"
    assert running.wait() == 0
    client.close()


def test_sigterm_lets_a_stream_in_flight_end(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    release = threading.Event()

    def stream(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(chunked_head() + b"5\r\nfirst\r\n")
        connection.wait(release)
        connection.send(b"4\r\nlast\r\n0\r\n\r\n")

    server.script(stream)
    running = proxy(one_upstream(server))
    client = running.client()
    client.send(request("GET", "/it/slow"))
    client.until(b"first\r\n", "the first piece")
    running.signal(signal.SIGTERM)
    eventually(lambda: takes_no_calls(running))
    release.set()
    client.until(b"last\r\n0\r\n\r\n", "the end")
    assert running.wait() == 0
    client.close()


def test_an_idle_connection_does_not_hold_the_drain_up(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    running = proxy({**one_upstream(server), "drain": {"grace": "60s"}})
    client = running.client()
    assert client.call("GET", "/it/x").body == b"hello"
    running.signal(signal.SIGTERM)
    client.assert_closed()
    assert running.wait() == 0
    client.close()


def test_a_call_that_outlasts_the_grace_is_cut_and_the_exit_is_still_clean(
    proxy: StartProxy, upstream: StartUpstream
) -> None:
    server = upstream()
    server.serve(lambda _, connection: connection.wait_closed().encode())
    running = proxy({**one_upstream(server), "drain": {"grace": "200ms"}})
    client = running.client()
    client.send(request("GET", "/it/hangs"))
    server.wait_for_requests(1)
    running.signal(signal.SIGTERM)
    with contextlib.suppress(CutShortError, ConnectionResetError):
        assert client.read_reply().status == 503
    assert running.wait() == 0
    server.wait_until(lambda: server.connections[0].ended is not None)
    client.close()


def test_sigterm_under_load_ends_every_call_one_way_or_the_other(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    running = proxy(one_upstream(server))
    odd: list[str] = []
    done = threading.Event()
    answered = threading.Semaphore(0)

    def job() -> None:
        while not done.is_set():
            try:
                client = running.client()
            except OSError:
                return
            try:
                answer = client.call("GET", "/it/x")
                answered.release()
                if (answer.status, answer.error) not in {(200, None), (503, "draining")}:
                    odd.append(f"{answer.status} {answer.error}")
            except (CutShortError, ConnectionError) as failure:
                if client.received:
                    odd.append(f"cut after {bytes(client.received)!r}: {failure}")
            finally:
                client.close()

    jobs = [threading.Thread(target=job) for _ in range(8)]
    for one in jobs:
        one.start()
    for _ in range(50):
        assert answered.acquire(timeout=PATIENCE)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    done.set()
    for one in jobs:
        one.join(PATIENCE)
    assert odd == []


def test_sigint_drains_too(proxy: StartProxy, upstream: StartUpstream) -> None:
    running = proxy(one_upstream(upstream()))
    running.signal(signal.SIGINT)
    assert running.wait() == 0


# Reload


@pytest.mark.parametrize("told", ["by a signal", "by the file alone"])
def test_a_reload_moves_new_calls_and_drops_none(proxy: StartProxy, upstream: StartUpstream, told: str) -> None:
    old, new = upstream(), upstream()
    release = held(old)
    new.answer(reply(200, b"from the new one"))
    running = proxy(one_upstream(old))
    client = running.client()
    client.send(request("GET", "/it/slow"))
    old.wait_for_requests(1)
    if told == "by a signal":
        running.write_config(one_upstream(new))
    else:
        running.write_config(one_upstream(new), signal_too=False)

    def moved() -> bool:
        one = running.client()
        answer = one.call("GET", "/it/x", ("x-blueprint-timeout-ms", "100"))
        one.close()
        return answer.body == b"from the new one"

    eventually(moved)
    client.assert_open()
    release.set()
    assert client.read_reply().body == b"/slow"
    assert client.call("GET", "/it/x").body == b"from the new one"
    client.close()


@pytest.mark.parametrize(
    "bad", ["upstreams: [", "upstreams: {it: {kind: http, url: 7}}\nnonsense: true\n", "- a\n- list\n", "\x00"]
)
def test_a_bad_file_changes_nothing_but_a_log_line(proxy: StartProxy, upstream: StartUpstream, bad: str) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    running = proxy(one_upstream(server))
    client = running.client()
    assert client.call("GET", "/it/x").body == b"hello"
    before = len(running.log)
    running.write_config_text(bad)
    eventually(lambda: "ERROR" in running.log[before:] or "WARNING" in running.log[before:])
    assert client.call("GET", "/it/x").body == b"hello"
    assert running.get_admin("/readyz")[0] == 200
    client.close()


def test_a_reload_can_add_and_take_away_an_upstream(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    running = proxy(one_upstream(server))
    client = running.client()
    assert client.call("GET", "/that/x").status == 404
    running.write_config({"upstreams": {"that": {"kind": "http", "url": server.url}}})
    eventually(lambda: client.call("GET", "/that/x").status == 200)
    assert client.call("GET", "/it/x").status == 404
    client.close()
