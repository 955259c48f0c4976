"""Limits of a request, Expect, replies without a body, interim replies, and HTTP/1.0 clients."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from support.wire import chunked, chunked_head, reply, request

if TYPE_CHECKING:
    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage


@pytest.mark.parametrize(("count", "size"), [(3000, 20), (1, 100_000), (40, 4000)])
def test_a_huge_head_is_refused(plain: Stage, count: int, size: int) -> None:
    client = plain.client()
    fields = [(f"X-{number}", "a" * size) for number in range(count)]
    client.send(request("GET", plain.path(), *fields))
    assert client.read_reply().status == 431
    client.assert_closed()
    assert plain.upstream.requests == []


def test_a_head_that_never_ends_is_refused_while_it_grows(plain: Stage) -> None:
    client = plain.client()
    client.send(f"GET {plain.path()} HTTP/1.1\r\nHost: a\r\nX-A: ".encode() + b"a" * 80_000)
    assert client.read_reply().status == 431
    client.assert_closed()


def test_a_head_of_thirty_kilobytes_passes(plain: Stage) -> None:
    plain.upstream.answer(reply())
    assert plain.call("GET", "/thing", *[(f"X-{number}", "a" * 1000) for number in range(30)]).status == 200


def test_a_huge_target_is_refused(plain: Stage) -> None:
    client = plain.client()
    client.send(request("GET", plain.path("/" + "a" * 40_000)))
    assert client.read_reply().status == 414
    client.assert_closed()


def test_a_target_of_eight_kilobytes_passes(plain: Stage) -> None:
    plain.upstream.answer(reply())
    assert plain.call("GET", "/" + "a" * 8000).status == 200


def test_a_body_whose_length_is_over_the_limit_is_refused_unread(limited: Stage) -> None:
    client = limited.client()
    client.send(request("POST", limited.path(), ("Content-Length", "1025")))
    answer = client.read_reply()
    assert (answer.status, answer.error) == (413, "too_large")
    assert limited.upstream.requests == []


def test_a_chunked_body_that_crosses_the_limit_is_refused(limited: Stage) -> None:
    client = limited.client()
    client.send(request("POST", limited.path(), ("Transfer-Encoding", "chunked")) + b"400\r\n" + b"a" * 1024 + b"\r\n")
    client.send(b"1\r\na\r\n")
    answer = client.read_reply()
    assert (answer.status, answer.error) == (413, "too_large")
    client.assert_closed()
    assert [sent for sent in limited.upstream.requests if sent.complete] == []


def test_a_body_of_exactly_the_limit_passes(limited: Stage) -> None:
    limited.upstream.answer(reply())
    assert limited.call("POST", "/thing", body=b"a" * 1024).status == 200
    client = limited.client()
    client.send(request("POST", limited.path(), ("Transfer-Encoding", "chunked")) + chunked(b"a" * 1000, b"b" * 24))
    assert client.read_reply().status == 200


# Expect


def test_a_client_that_waits_for_100_is_told_to_go_on(plain: Stage) -> None:
    plain.upstream.echo()
    client = plain.client()
    client.send(request("POST", plain.path(), ("Expect", "100-continue"), ("Content-Length", "5")))
    assert client.until(b"\r\n\r\n", "100").startswith(b"HTTP/1.1 100 ")
    client.send(b"12345")
    answer = client.read_reply()
    assert (answer.status, json.loads(answer.body)["body_length"]) == (200, 5)


def test_a_client_that_does_not_wait_for_100_is_served(plain: Stage) -> None:
    plain.upstream.echo()
    client = plain.client()
    client.send(request("POST", plain.path(), ("Expect", "100-continue"), body=b"12345"))
    answer = client.read_reply()
    assert (answer.status, json.loads(answer.body)["body_length"]) == (200, 5)
    assert client.call("GET", plain.path()).status == 200


def test_a_refusal_comes_in_place_of_100(plain: Stage) -> None:
    client = plain.client()
    client.send(request("POST", "/nowhere/at/all", ("Expect", "100-continue"), ("Content-Length", "5")))
    answer = client.read_reply()
    assert (answer.status, answer.interim) == (404, [])


def test_a_body_over_the_limit_is_refused_in_place_of_100(limited: Stage) -> None:
    client = limited.client()
    client.send(request("POST", limited.path(), ("Expect", "100-continue"), ("Content-Length", "5000")))
    answer = client.read_reply()
    assert (answer.status, answer.interim) == (413, [])


def test_an_early_answer_passes_to_a_client_that_still_waits_for_100(plain: Stage) -> None:
    def refuse(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.send(reply(403, b"no", ("Connection", "close")))
        connection.wait_closed()

    plain.upstream.script(refuse)
    client = plain.client()
    client.send(request("POST", plain.path(), ("Expect", "100-continue"), ("Content-Length", "5")))
    answer = client.read_reply()
    assert (answer.status, answer.body) == (403, b"no")
    assert all(interim.start_line.startswith(b"HTTP/1.1 100 ") for interim in answer.interim)


def test_an_expectation_that_nobody_knows_is_refused(plain: Stage) -> None:
    answer = plain.call("POST", "/thing", ("Expect", "miracles"), body=b"12345")
    assert answer.status == 417


# HEAD, 204, 304, interim


def test_head_keeps_the_length_and_has_no_body(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: x\r\n\r\n")
    client = plain.client()
    for _ in range(2):
        answer = client.call("HEAD", plain.path())
        assert (answer.status, answer.value("content-length"), answer.body) == (200, b"12345", b"")
    assert len(plain.upstream.connections) == 1


def test_head_of_a_chunked_resource_has_no_body(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: chunked_head() if sent.method == "HEAD" else reply(200, b"get"))
    client = plain.client()
    assert client.call("HEAD", plain.path()).status == 200
    assert client.call("GET", plain.path()).body == b"get"


@pytest.mark.parametrize("fields", [b"", b"ETag: x\r\n", b"Content-Length: 12345\r\n"])
def test_304_has_no_body(plain: Stage, fields: bytes) -> None:
    plain.upstream.serve(lambda sent, _: b"HTTP/1.1 304 Not Modified\r\n" + fields + b"\r\n")
    client = plain.client()
    assert client.call("GET", plain.path()).status == 304
    assert client.call("GET", plain.path()).status == 304
    assert len(plain.upstream.connections) == 1


def test_204_has_no_body(plain: Stage) -> None:
    plain.upstream.serve(lambda sent, _: b"HTTP/1.1 204 No Content\r\n\r\n")
    client = plain.client()
    assert client.call("DELETE", plain.path()).status == 204
    assert client.call("DELETE", plain.path()).status == 204
    assert len(plain.upstream.connections) == 1


def test_a_refusal_of_head_has_no_body(plain: Stage) -> None:
    client = plain.client()
    assert client.call("HEAD", "/nowhere/x").status == 404
    plain.upstream.answer(reply(200, b"fine"))
    assert client.call("GET", plain.path()).body == b"fine"


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


def test_an_interim_reply_reaches_a_1_1_client(plain: Stage) -> None:
    plain.upstream.answer(EARLY_HINTS + EARLY_HINTS + reply(200, b"final"))
    answer = plain.call()
    assert [interim.start_line for interim in answer.interim] == [b"HTTP/1.1 103 Early Hints"] * 2
    assert answer.interim[0].value("link") == b"</a>; rel=preload"
    assert (answer.status, answer.body) == (200, b"final")


def test_an_interim_reply_does_not_reach_a_1_0_client(plain: Stage) -> None:
    plain.upstream.answer(EARLY_HINTS + reply(200, b"final"))
    client = plain.client()
    client.send(request("GET", plain.path(), minor=0))
    answer = client.read_reply()
    assert (answer.interim, answer.status, answer.body) == ([], 200, b"final")


def test_a_100_that_nobody_asked_for_does_no_harm(plain: Stage) -> None:
    plain.upstream.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, b"final"))
    client = plain.client()
    assert client.call("GET", plain.path()).body == b"final"
    assert client.call("GET", plain.path()).body == b"final"


# HTTP/1.0


def test_a_1_0_client_is_answered_and_its_connection_closed(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    client.send(request("GET", plain.path(), minor=0))
    assert client.read_reply().body == b"hello"
    client.assert_closed()


def test_a_1_0_client_needs_no_host(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    client.send(f"GET {plain.path()} HTTP/1.0\r\n\r\n".encode())
    assert client.read_reply().body == b"hello"


def test_a_1_0_client_that_asks_for_it_keeps_its_connection(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    for _ in range(2):
        client.send(request("GET", plain.path(), ("Connection", "keep-alive"), minor=0))
        answer = client.read_reply()
        assert answer.body == b"hello"
        assert (answer.value("connection") or b"").lower() == b"keep-alive"


def test_a_1_0_client_gets_a_chunked_reply_until_the_close(plain: Stage) -> None:
    seen = threading.Event()

    def in_two_pieces(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(chunked_head() + b"3\r\none\r\n")
        connection.wait(seen)
        connection.send(b"3\r\ntwo\r\n0\r\n\r\n")

    plain.upstream.script(in_two_pieces)
    client = plain.client()
    client.send(request("GET", plain.path(), ("Connection", "keep-alive"), minor=0))
    head = client.until(b"\r\n\r\n", "the head").lower()
    assert b"transfer-encoding" not in head
    assert b"keep-alive" not in head
    assert client.until(b"one", "the first piece") == b"one"
    seen.set()
    assert client.to_end() == b"two"


def test_the_upstream_is_spoken_to_in_1_1_whatever_the_client_speaks(plain: Stage) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.send(request("GET", plain.path(), minor=0))
    client.read_reply()
    assert plain.upstream.requests[0].minor == 1


def test_connection_close_is_kept_to_by_us(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    answer = client.call("GET", plain.path(), ("Connection", "close"))
    assert answer.value("connection") == b"close"
    client.assert_closed()
