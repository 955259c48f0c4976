"""Which connection to the upstream a call takes: a kept one, a fresh one, never one that cannot be trusted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from support.raw_upstream import close, reset, say
from support.wire import PATIENCE, chunked, chunked_head, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.raw_client import RawClient
    from support.raw_upstream import Script, UpstreamConnection
    from support.stage import Stage


def test_calls_one_after_another_share_a_connection(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"), chunked_head() + chunked(b"he", b"llo"), reply(404, b"no"), reply())
    client = plain.client()
    assert [client.call("GET", plain.path()).status for _ in range(3)] == [200, 200, 404]
    assert plain.call("POST", "/thing", body=b"12345").status == 200
    assert len(plain.upstream.connections) == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
def test_a_connection_that_the_upstream_will_close_is_not_used_again(plain: Stage, head: bytes) -> None:
    plain.upstream.serve(lambda _, __: head + b"Content-Length: 2\r\n\r\nok")
    assert plain.call().body == b"ok"
    assert plain.call("POST", "/thing", body=b"1").body == b"ok"
    assert len(plain.upstream.connections) == 2


def reply_then_fail(end: Callable[[UpstreamConnection], None]) -> Script:
    def script(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(reply(200, b"first"))
        connection.read_request()
        end(connection)

    return script


@pytest.mark.parametrize("end", [close, reset])
def test_a_get_that_fails_on_a_reused_connection_is_repeated(
    retrying: Stage, end: Callable[[UpstreamConnection], None]
) -> None:
    retrying.upstream.script(reply_then_fail(end))
    retrying.upstream.answer(reply(200, b"second"))
    assert retrying.call().body == b"first"
    answer = retrying.call()
    assert (answer.status, answer.body) == (200, b"second")
    assert len(retrying.upstream.connections) == 2


@pytest.mark.parametrize("end", [close, reset])
def test_a_get_is_repeated_on_a_fresh_connection_even_where_it_is_tried_once(
    plain: Stage, end: Callable[[UpstreamConnection], None]
) -> None:
    plain.upstream.script(reply_then_fail(end))
    plain.upstream.answer(reply(200, b"second"))
    assert plain.call().body == b"first"
    assert plain.call().body == b"second"


@pytest.mark.parametrize("end", [close, reset])
def test_a_post_that_fails_on_a_reused_connection_is_not_repeated(
    retrying: Stage, end: Callable[[UpstreamConnection], None]
) -> None:
    retrying.upstream.script(reply_then_fail(end))
    retrying.upstream.answer(reply(200, b"executed twice"))
    assert retrying.call().body == b"first"
    answer = retrying.call("POST", "/thing", body=b"12345")
    assert (answer.status, answer.attempts) == (502, 1)
    assert answer.value("x-blueprint-maybe-executed") == b"true"
    assert len(retrying.upstream.requests) == 2


def let_the_proxy_notice(client: RawClient) -> None:
    """Whatever lies in the proxy's sockets now has been read when it has answered a few requests."""
    for _ in range(3):
        assert client.call("GET", "/nowhere/x").status == 404


def test_a_connection_that_ended_while_idle_is_not_used_again(plain: Stage) -> None:
    ended = threading.Event()

    def once(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(reply(200, b"first"))
        connection.half_close()
        ended.set()
        connection.wait_closed()

    plain.upstream.script(once)
    plain.upstream.answer(reply(200, b"second"))
    assert plain.call().body == b"first"
    assert ended.wait(PATIENCE)
    let_the_proxy_notice(plain.client())
    answer = plain.call("POST", "/thing", body=b"12345")
    assert (answer.status, answer.body, answer.attempts) == (200, b"second", 1)


POISON = reply(200, b"poison")


@pytest.mark.parametrize("poison", [POISON, b"x", b"\r\n\r\n"])
def test_bytes_after_a_reply_are_never_the_next_answer(plain: Stage, poison: bytes) -> None:
    plain.upstream.script(say(reply(200, b"first") + poison, then_close=False))
    plain.upstream.answer(reply(200, b"second"))
    client = plain.client()
    assert client.call("GET", plain.path()).body == b"first"
    client.assert_open()
    assert client.call("GET", plain.path()).body == b"second"
    assert len(plain.upstream.connections) == 2


@pytest.mark.parametrize("poison", [POISON, b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_bytes_on_an_idle_connection_are_never_the_next_answer(plain: Stage, poison: bytes) -> None:
    release, sent = threading.Event(), threading.Event()

    def late(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(reply(200, b"first"))
        connection.wait(release)
        connection.send(poison)
        sent.set()
        connection.wait_closed()

    plain.upstream.script(late)
    plain.upstream.answer(reply(200, b"second"))
    assert plain.call().body == b"first"
    release.set()
    assert sent.wait(PATIENCE)
    let_the_proxy_notice(plain.client())
    assert plain.call().body == b"second"


def test_a_body_after_a_reply_to_head_is_never_the_next_answer(plain: Stage) -> None:
    plain.upstream.script(say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", then_close=False))
    plain.upstream.answer(reply(200, b"second"))
    client = plain.client()
    assert client.call("HEAD", plain.path()).body == b""
    assert client.call("GET", plain.path()).body == b"second"
