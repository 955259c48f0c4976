"""Bodies on their way: at once, with backpressure, and cancelled when the job has left."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from support.wire import PATIENCE, chunked_head, reply, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.proxy import StartProxy
    from support.raw_client import RawClient
    from support.raw_upstream import StartUpstream, UpstreamConnection
    from support.stage import Stage

MIB = 1024 * 1024
LARGE = 256 * MIB
EXTRA = 16 * MIB
"""The bound of issue 2 for a body of any size beside a slow peer."""


def test_an_event_reaches_the_job_before_the_next_one_is_sent(plain: Stage) -> None:
    seen = [threading.Event() for _ in range(3)]

    def events(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(chunked_head(200, ("Content-Type", "text/event-stream")))
        for number in range(3):
            data = b"data: %d\n\n" % number
            connection.send(b"%x\r\n%b\r\n" % (len(data), data))
            connection.wait(seen[number])
        connection.send(b"0\r\n\r\n")

    plain.upstream.script(events)
    client = plain.client()
    client.send(request("GET", plain.path(), ("Accept", "text/event-stream")))
    client.until(b"\r\n\r\n", "the head")
    for number in range(3):
        client.until(b"data: %d\n\n" % number, "an event")
        seen[number].set()
    client.until(b"0\r\n\r\n", "the end")


def test_the_head_reaches_the_job_before_the_body_begins(plain: Stage) -> None:
    seen = threading.Event()

    def wait_between(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        connection.wait(seen)
        connection.send(b"hello")

    plain.upstream.script(wait_between)
    client = plain.client()
    client.send(request("GET", plain.path()))
    client.until(b"\r\n\r\n", "the head")
    seen.set()
    assert client.exactly(5, "the body") == b"hello"


def test_a_piece_of_an_upload_reaches_the_upstream_before_the_next_one_is_sent(plain: Stage) -> None:
    seen = [threading.Event() for _ in range(3)]

    def receive(connection: UpstreamConnection) -> None:
        connection.read_head()
        for number in range(3):
            assert connection.read_chunk() == b"piece %d" % number
            seen[number].set()
        assert connection.read_chunk() == b""
        connection.read_trailers()
        connection.send(reply())

    plain.upstream.script(receive)
    client = plain.client()
    client.send(request("POST", plain.path(), ("Transfer-Encoding", "chunked")))
    for number in range(3):
        client.send(b"7\r\npiece %d\r\n" % number)
        assert seen[number].wait(PATIENCE)
    client.send(b"0\r\n\r\n")
    assert client.read_reply().status == 200


def test_a_reply_may_begin_before_the_upload_has_ended(plain: Stage) -> None:
    def parrot(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.send(chunked_head())
        while piece := connection.read_chunk():
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.read_trailers()
        connection.send(b"0\r\n\r\n")

    plain.upstream.script(parrot)
    client = plain.client()
    client.send(request("POST", plain.path(), ("Transfer-Encoding", "chunked")))
    client.send(b"5\r\nfirst\r\n")
    client.until(b"\r\n\r\n", "the head")
    assert client.read_chunk() == b"first"
    client.send(b"6\r\nsecond\r\n")
    assert client.read_chunk() == b"second"
    client.send(b"0\r\n\r\n")
    assert client.read_chunk() == b""


# Memory


def until_it_stands_still(value: Callable[[], int]) -> int:
    """Polls until the value has not moved for a third of a second: everything between the peers is full."""
    deadline = time.monotonic() + 30
    before, still = value(), 0
    while still < 10:
        time.sleep(0.03)
        now = value()
        still = still + 1 if now == before and now else 0
        before = now
        assert time.monotonic() < deadline, "never blocked"
    return before


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_a_slow_reader_costs_no_memory(proxy: StartProxy, upstream: StartUpstream, framing: str) -> None:
    server = upstream()
    server.answer(reply(200, b"warm"))
    running = proxy({"upstreams": {"big": {"kind": "http", "url": server.url}}})
    assert running.client().call("GET", "/big/warm").body == b"warm"
    sent = 0
    piece = bytes(MIB)

    def download(_: object, connection: UpstreamConnection) -> None:
        nonlocal sent
        connection.sock.settimeout(60)
        head = {
            "length": reply(200, b"").replace(b"Content-Length: 0", b"Content-Length: %d" % LARGE),
            "chunks": chunked_head(),
            "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        }
        connection.send(head[framing])
        for _ in range(LARGE // MIB):
            connection.send(b"%x\r\n%b\r\n" % (MIB, piece) if framing == "chunks" else piece)
            sent += MIB
        if framing == "chunks":
            connection.send(b"0\r\n\r\n")
        if framing == "close":
            connection.half_close()

    server.serve(download)
    client = running.client(receive_buffer=65536)
    before = running.rss()
    running.forget_peak()
    client.send(request("GET", "/big/file"))
    client.until(b"\r\n\r\n", "the head")
    assert until_it_stands_still(lambda: sent) < LARGE
    assert client.sock.recv(1)
    drain(client, LARGE - 1 - len(client._buffer))
    assert running.peak_rss() - before < EXTRA
    client.close()


def drain(client: RawClient, least: int) -> None:
    """Reads at least so many bytes and drops them."""
    buffer = bytearray(MIB)
    while least > 0:
        count = client.sock.recv_into(buffer)
        assert count, "cut short"
        least -= count


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_slow_upstream_costs_no_memory(proxy: StartProxy, upstream: StartUpstream, method: str) -> None:
    server = upstream()
    body = {"memory": "1MiB", "spool": "16MiB"}
    running = proxy({"upstreams": {"big": {"kind": "http", "url": server.url, "body": body}}})
    release = threading.Event()

    def warm(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(reply(200, b"warm", ("Connection", "close")))

    def receive(connection: UpstreamConnection) -> None:
        connection.sock.settimeout(60)
        connection.read_head()
        connection.wait(release)
        left = LARGE - len(connection._buffer)
        buffer = bytearray(MIB)
        while left:
            left -= connection.sock.recv_into(buffer, min(left, MIB))
        connection.send(reply(200, b"fine", ("Connection", "close")))

    server.script(warm, receive)
    client = running.client()
    assert client.call("GET", "/big/warm").body == b"warm"
    before = running.rss()
    running.forget_peak()
    client.send(request(method, "/big/file", ("Content-Length", str(LARGE))))
    sent = 0

    def send() -> None:
        nonlocal sent
        piece = bytes(MIB)
        for _ in range(LARGE // MIB):
            client.send(piece)
            sent += MIB

    client.sock.settimeout(60)
    sender = threading.Thread(target=send, name="sender")
    sender.start()
    try:
        assert until_it_stands_still(lambda: sent) < LARGE
    finally:
        release.set()
        sender.join(60)
    assert client.read_reply().body == b"fine"
    assert running.peak_rss() - before < EXTRA
    client.close()


def test_a_job_that_asks_and_never_reads_costs_no_memory(proxy: StartProxy) -> None:
    running = proxy({})
    client = running.client(receive_buffer=65536)
    assert client.call("GET", "/nowhere/warm").status == 404
    before = running.rss()
    running.forget_peak()
    asked = 0
    batch = request("GET", "/nowhere/x") * 1000
    client.sock.settimeout(PATIENCE)

    def ask() -> None:
        nonlocal asked
        try:
            for _ in range(300):
                client.send(batch)
                asked += 1
        except OSError:
            pass  # blocked, as it should be, until the test closes the connection

    asker = threading.Thread(target=ask, name="asker")
    asker.start()
    try:
        until_it_stands_still(lambda: asked)
    finally:
        client.sock.shutdown(socket.SHUT_RDWR)
        asker.join(30)
        client.close()
    assert running.peak_rss() - before < EXTRA
    assert running.client().call("GET", "/nowhere/x").status == 404


def test_a_slow_reader_does_not_hold_another_job_up(plain: Stage) -> None:
    piece = bytes(MIB)

    def handle(sent: object, connection: UpstreamConnection) -> bytes | None:
        if sent.target == b"/small":  # type: ignore[attr-defined]
            return reply(200, b"small")
        connection.send(chunked_head())
        for _ in range(64):
            connection.send(b"%x\r\n%b\r\n" % (MIB, piece))
        connection.send(b"0\r\n\r\n")
        return None

    plain.upstream.serve(handle)
    slow = plain.client(receive_buffer=65536)
    slow.send(request("GET", plain.path("/large")))
    slow.until(b"\r\n\r\n", "the head")
    for _ in range(5):
        assert plain.call("GET", "/small").body == b"small"
    slow.reset()
