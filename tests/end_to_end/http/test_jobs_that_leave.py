"""Jobs that leave: their attempt is cancelled, unless they have only stopped talking."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from support.wire import chunked, chunked_head, reply, request

if TYPE_CHECKING:
    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage


def wait_for_end(connection: UpstreamConnection) -> None:
    connection.read_request()
    connection.wait_closed()


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_job_that_leaves_before_the_reply_cancels_the_attempt(plain: Stage, how: str) -> None:
    plain.upstream.script(wait_for_end)
    client = plain.client()
    client.send(request("GET", plain.path()))
    plain.upstream.wait_for_requests(1)
    getattr(client, how)()
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_job_that_leaves_in_the_middle_of_a_reply_cancels_the_attempt(plain: Stage, how: str) -> None:
    def pour(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(chunked_head())
        piece = b"1000\r\n" + bytes(4096) + b"\r\n"
        while True:
            connection.send(piece)

    plain.upstream.script(pour)
    client = plain.client()
    client.send(request("GET", plain.path()))
    client.until(b"\r\n\r\n", "the head")
    getattr(client, how)()
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_job_that_leaves_a_stream_that_is_silent_cancels_the_attempt(plain: Stage, how: str) -> None:
    def first_event(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(chunked_head() + b"5\r\nfirst\r\n")
        connection.wait_closed()

    plain.upstream.script(first_event)
    client = plain.client()
    client.send(request("GET", plain.path()))
    client.until(b"first\r\n", "the first event")
    getattr(client, how)()
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_job_that_leaves_in_the_middle_of_its_upload_cancels_the_attempt(plain: Stage, how: str) -> None:
    def receive(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.wait_closed()

    plain.upstream.script(receive)
    client = plain.client()
    client.send(request("POST", plain.path(), ("Content-Length", "1000")) + b"a" * 500)
    plain.upstream.wait_for_requests(1)
    getattr(client, how)()
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)
    assert not plain.upstream.requests[0].complete


def test_a_job_that_leaves_while_a_retry_waits_ends_the_call(retrying: Stage) -> None:
    retrying.upstream.answer(reply(503, b"", ("Retry-After", "2")), reply(200, b"too late"))
    client = retrying.client()
    client.send(request("GET", retrying.path()))
    retrying.upstream.wait_for_requests(1)
    client.reset()
    assert retrying.call("GET", "/other").body == b"too late"
    assert len(retrying.upstream.requests) == 2


def test_a_job_that_has_only_said_that_it_is_done_still_gets_its_answer(plain: Stage) -> None:
    release = threading.Event()

    def slowly(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.wait(release)
        connection.send(chunked_head() + chunked(b"he", b"llo"))

    plain.upstream.script(slowly)
    client = plain.client()
    client.send(request("GET", plain.path()))
    client.half_close()
    plain.upstream.wait_for_requests(1)
    for _ in range(3):  # the proxy has read the FIN when it has answered others since
        assert plain.client().call("GET", "/nowhere/x").status == 404
    assert plain.upstream.connections[0].ended is None
    release.set()
    assert client.read_reply().body == b"hello"
    client.assert_closed()


def test_a_job_that_closes_between_calls_takes_no_connection_with_it(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    for how in ("reset", "close"):
        client = plain.client()
        assert client.call("GET", plain.path()).body == b"hello"
        getattr(client, how)()
    assert plain.call().body == b"hello"
    assert len(plain.upstream.connections) == 1
