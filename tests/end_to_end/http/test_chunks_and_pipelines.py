"""Chunks and trailers both ways, and requests that come before the last one is answered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from support.wire import PATIENCE, chunked, chunked_head, reply, request

if TYPE_CHECKING:
    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage


def test_chunks_and_trailers_pass_upstream(plain: Stage) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    fields = (("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum"))
    client.send(request("POST", plain.path(), *fields) + chunked(b"one", b"two", trailers=(("X-Sum", "abc"),)))
    assert client.read_reply().status == 200
    sent = plain.upstream.requests[0]
    assert (sent.framing, sent.body, sent.trailers) == ("chunked", b"onetwo", [(b"X-Sum", b"abc")])


def test_chunks_and_trailers_pass_to_the_job(plain: Stage) -> None:
    plain.upstream.answer(
        chunked_head(200, ("Trailer", "X-Sum")) + chunked(b"one", b"two", trailers=(("X-Sum", "abc"),))
    )
    answer = plain.call("GET", "/thing", ("TE", "trailers"))
    assert (answer.framing, answer.body, answer.trailers) == ("chunked", b"onetwo", [(b"X-Sum", b"abc")])


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "x-blueprint-run"])
def test_a_trailer_that_would_change_the_message_is_dropped(plain: Stage, name: str) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    trailers = ((name, "1"), ("X-Sum", "abc"))
    client.send(request("POST", plain.path(), ("Transfer-Encoding", "chunked")) + chunked(b"one", trailers=trailers))
    answer = client.read_reply()
    if answer.status == 400:
        return
    assert plain.upstream.requests[0].trailers == [(b"X-Sum", b"abc")]


def test_pipelined_requests_are_answered_in_order(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: reply(200, sent.target))
    client = plain.client()
    client.send(b"".join(request("GET", plain.path(f"/{number}")) for number in range(20)))
    assert [client.read_reply().body for _ in range(20)] == [b"/%d" % number for number in range(20)]


def test_a_pipelined_answer_waits_for_the_one_before_it(plain: Stage) -> None:
    release = threading.Event()

    def answer(sent: object, connection: UpstreamConnection) -> bytes:
        target: bytes = sent.target  # type: ignore[attr-defined]
        if target == b"/slow":
            connection.wait(release)
        return reply(200, target)

    plain.upstream.serve(answer)
    client = plain.client()
    client.send(request("GET", plain.path("/slow")) + request("GET", "/nowhere/x") + request("GET", plain.path("/b")))
    plain.upstream.wait_for_requests(1)
    client.assert_open()
    release.set()
    assert client.read_reply().body == b"/slow"
    assert client.read_reply().status == 404
    assert client.read_reply().body == b"/b"


def test_a_pipelined_body_is_not_taken_for_a_request(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: reply(200, sent.target + b" " + sent.body))
    client = plain.client()
    inner = request("GET", plain.path("/inner"))
    client.send(request("POST", plain.path("/a"), body=inner) + request("GET", plain.path("/b")))
    assert client.read_reply().body == b"/a " + inner
    assert client.read_reply().body == b"/b "


def test_a_job_that_says_all_at_once_and_half_closes_gets_every_answer(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: reply(200, sent.target))
    client = plain.client()
    client.send(b"".join(request("GET", plain.path(f"/{number}")) for number in range(5)))
    client.half_close()
    assert [client.read_reply().body for _ in range(5)] == [b"/%d" % number for number in range(5)]
    client.assert_closed()


def test_more_pipelined_requests_than_are_kept_are_all_answered(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: reply(200, sent.target))
    client = plain.client()
    count = 400
    asked = b"".join(request("GET", plain.path(f"/{number}"), ("X-Padding", "a" * 500)) for number in range(count))
    sender = threading.Thread(target=client.send, args=(asked,), name="sender")
    sender.start()
    answers = [client.read_reply().body for _ in range(count)]
    sender.join(PATIENCE)
    assert answers == [b"/%d" % number for number in range(count)]
