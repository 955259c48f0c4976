"""How long the job waits, and what of it the upstream is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.wire import CutShortError, chunked_head, reply, request

if TYPE_CHECKING:
    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage
    from support.wire import Request


def hang(connection: UpstreamConnection) -> None:
    connection.read_request()
    connection.wait_closed()


@pytest.mark.parametrize(
    "fields", [("x-blueprint-timeout-ms", "200"), ("X-Server-Timeout", "1"), ("grpc-timeout", "200m")]
)
def test_a_hanging_upstream_is_given_up_at_the_deadline(plain: Stage, fields: tuple[str, str]) -> None:
    plain.upstream.script(hang)
    answer = plain.call("GET", "/thing", fields)
    assert (answer.status, answer.error) == (504, "deadline_exceeded")
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)


def test_a_post_given_up_at_its_deadline_may_have_been_executed(plain: Stage) -> None:
    plain.upstream.script(hang)
    answer = plain.call("POST", "/thing", ("x-blueprint-timeout-ms", "200"), body=b"12345")
    assert (answer.status, answer.error) == (504, "deadline_exceeded")
    assert answer.value("x-blueprint-maybe-executed") == b"true"


def test_the_smallest_of_several_deadlines_wins(plain: Stage) -> None:
    plain.upstream.script(hang)
    answer = plain.call("GET", "/thing", ("X-Server-Timeout", "600"), ("x-blueprint-timeout-ms", "200"))
    assert answer.status == 504


def test_the_upstream_is_told_what_is_left(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call("GET", "/thing", ("X-Server-Timeout", "600"), ("x-blueprint-timeout-ms", "5000"))
    told = plain.upstream.requests[0].value("x-server-timeout")
    assert told is not None
    assert 0 < float(told) <= 5


def test_without_a_deadline_nothing_is_said_upstream(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call()
    assert plain.upstream.requests[0].values("x-server-timeout") == []


def test_the_deadline_bounds_all_attempts_together(retrying: Stage) -> None:
    retrying.upstream.answer(reply(503, b"", ("retry-after-ms", "150")))
    answer = retrying.call("GET", "/thing", ("x-blueprint-timeout-ms", "200"))
    assert answer.status in {503, 504}
    assert answer.error in {"attempts_exhausted", "deadline_exceeded"}
    assert len(retrying.upstream.requests) <= 2


def test_a_deadline_in_the_middle_of_a_reply_breaks_it(plain: Stage) -> None:
    def stall(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(chunked_head() + b"5\r\nfirst\r\n")
        connection.wait_closed()

    plain.upstream.script(stall)
    client = plain.client()
    client.send(request("GET", plain.path(), ("x-blueprint-timeout-ms", "300")))
    with pytest.raises((CutShortError, ConnectionResetError)):
        client.read_reply()


def test_no_first_byte_in_its_time_is_a_failed_attempt(impatient: Stage) -> None:
    impatient.upstream.script(hang)
    answer = impatient.call()
    assert answer.status in {502, 504}
    assert answer.error in {"upstream_unreachable", "deadline_exceeded"}


def test_a_reply_that_falls_silent_is_broken_off(impatient: Stage) -> None:
    def stall(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst")
        connection.wait_closed()

    impatient.upstream.script(stall)
    client = impatient.client()
    client.send(request("GET", impatient.path()))
    with pytest.raises((CutShortError, ConnectionResetError)):
        client.read_reply()


def test_a_slow_upload_is_not_held_against_the_first_byte(impatient: Stage) -> None:
    def handle(sent: Request, connection: UpstreamConnection) -> bytes:
        if sent.target == b"/clock":
            connection.wait_closed()
        return reply(200, sent.body)

    impatient.upstream.serve(handle)
    client = impatient.client()
    client.send(request("POST", impatient.path(), ("Content-Length", "3")))
    for byte in (b"a", b"b", b"c"):
        # A call that hangs until its own first byte is overdue: the proxy's clock says that the time is over.
        assert impatient.call("GET", "/clock").status in {502, 504}
        client.send(byte)
    assert client.read_reply().body == b"abc"
