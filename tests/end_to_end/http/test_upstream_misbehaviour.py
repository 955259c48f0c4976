"""Upstreams that break the rules: the job gets an honest answer or a broken connection, never a wrong one or a hang."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from support.raw_upstream import close, reset, say
from support.wire import CutShortError, chunked_head, reply, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.proxy import StartProxy
    from support.raw_upstream import Script, UpstreamConnection
    from support.stage import Stage

BAD_REPLIES: dict[str, bytes] = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "two equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
    "a length and a coding": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a value": b"HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n",
    "a bare CR in a value": b"HTTP/1.1 200 OK\r\nX-A: 1\r2\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nrubbish\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\x01\x02 what is this\r\n\r\n",
    "garbage without an end": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "a huge head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n",
    "a head that never ends": b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaaaaaaaaaaaaaa\r\n" * 20_000,
    "nothing at all": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "only an interim reply": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}
ENDS_BY_ITSELF = {"nothing at all", "half a head", "only an interim reply", "garbage without an end"}


@pytest.mark.parametrize("name", BAD_REPLIES)
def test_a_reply_that_is_not_http_is_ours_to_answer(plain: Stage, name: str) -> None:
    plain.upstream.script(say(BAD_REPLIES[name], then_close=name in ENDS_BY_ITSELF))
    answer = plain.call()
    assert (answer.status, answer.error) == (502, "upstream_unreachable")
    assert answer.value("x-blueprint-source") == b"proxy"
    assert answer.attempts == 1
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)


def test_a_reply_that_is_not_http_is_tried_again(retrying: Stage) -> None:
    retrying.upstream.script(
        say(BAD_REPLIES["garbage"], then_close=False), say(BAD_REPLIES["nothing at all"], then_close=True)
    )
    retrying.upstream.answer(reply(200, b"fine"))
    answer = retrying.call()
    assert (answer.status, answer.body, answer.attempts) == (200, b"fine", 3)


def test_a_reply_that_is_not_http_may_have_been_executed(plain: Stage) -> None:
    plain.upstream.script(say(BAD_REPLIES["garbage"], then_close=False))
    answer = plain.call("POST", "/thing", body=b"12345")
    assert answer.status == 502
    assert answer.value("x-blueprint-maybe-executed") == b"true"


def test_a_reset_without_a_reply_is_tried_again(retrying: Stage) -> None:
    def reset(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.reset()

    retrying.upstream.script(reset, reset)
    retrying.upstream.answer(reply(200, b"fine"))
    answer = retrying.call()
    assert (answer.status, answer.attempts) == (200, 3)


# Cut short


def cut_after(head: bytes, release: threading.Event, end: Callable[[UpstreamConnection], None]) -> Script:
    def script(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(head)
        connection.wait(release)
        end(connection)

    return script


HEADS = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst", b"first"),
    "chunks": (chunked_head() + b"5\r\nfirst\r\n", b"5\r\nfirst\r\n"),
    "a half chunk": (chunked_head() + b"64\r\nfirst", b"first"),
    "a last chunk without its end": (chunked_head() + b"5\r\nfirst\r\n0\r\n", b"first"),
}


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("name", HEADS)
def test_a_reply_cut_short_never_ends_cleanly(
    plain: Stage, name: str, end: Callable[[UpstreamConnection], None]
) -> None:
    release = threading.Event()
    plain.upstream.script(cut_after(HEADS[name][0], release, end))
    client = plain.client()
    client.send(request("GET", plain.path()))
    head = client.until(b"\r\n\r\n", "the head")
    assert head.startswith(b"HTTP/1.1 200")
    release.set()
    try:
        rest = client.to_end()
    except ConnectionResetError:
        return
    assert not rest.endswith(b"0\r\n\r\n")
    assert b"HTTP/1.1" not in rest
    if b"chunked" not in head:
        assert len(rest) < 100


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("name", [name for name in HEADS if name != "a length"])
def test_a_1_0_client_sees_a_cut_as_a_reset(plain: Stage, name: str, end: Callable[[UpstreamConnection], None]) -> None:
    release = threading.Event()
    plain.upstream.script(cut_after(HEADS[name][0], release, end))
    client = plain.client()
    client.send(request("GET", plain.path(), minor=0))
    assert client.until(b"first", "the first bytes").endswith(b"first")
    release.set()
    with pytest.raises(ConnectionResetError):
        client.to_end()


def test_a_bad_chunk_from_upstream_breaks_the_reply(plain: Stage) -> None:
    plain.upstream.script(say(chunked_head() + b"5\r\nfirst\r\nxyz\r\n", then_close=False))
    client = plain.client()
    client.send(request("GET", plain.path()))
    try:
        answer = client.read_reply()
    except (CutShortError, ConnectionResetError):
        return
    assert answer.status == 502  # the head had not been passed on yet: a refusal is as good


def test_a_close_delimited_reply_that_is_reset_never_ends_cleanly(plain: Stage) -> None:
    release = threading.Event()
    plain.upstream.script(cut_after(b"HTTP/1.1 200 OK\r\n\r\nfirst", release, reset))
    client = plain.client()
    client.send(request("GET", plain.path()))
    client.until(b"first", "the first bytes")
    release.set()
    try:
        rest = client.to_end()
    except ConnectionResetError:
        return
    assert not rest.endswith(b"0\r\n\r\n")


def test_a_killed_upstream_never_ends_the_reply_cleanly(proxy: StartProxy) -> None:
    program = (
        "import socket, sys, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "job, _ = server.accept()\n"
        "job.recv(65536)\n"
        "job.sendall(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n5\\r\\nfirst\\r\\n')\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        running = proxy({"upstreams": {"victim": {"kind": "http", "url": f"http://127.0.0.1:{port}"}}})
        client = running.client()
        client.send(request("GET", "/victim/x"))
        client.until(b"first\r\n", "the first bytes")
        child.kill()
        with contextlib.suppress(ConnectionResetError):
            assert client.to_end() == b""
        client.close()


# What is fine


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_close_delimited_reply_passes(plain: Stage, version: bytes) -> None:
    plain.upstream.script(say(b"HTTP/" + version + b" 200 OK\r\nX-A: b\r\n\r\neverything there is", then_close=True))
    answer = plain.call()
    assert (answer.status, answer.body, answer.value("x-a")) == (200, b"everything there is", b"b")


def test_a_reply_without_a_reason_phrase_passes(plain: Stage) -> None:
    plain.upstream.answer(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")
    assert plain.call().body == b"ok"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_passed_on(plain: Stage, status: int) -> None:
    plain.upstream.answer(reply(status, b"", ("Location", "http://elsewhere.test/x?y=%2F")))
    answer = plain.call()
    assert (answer.status, answer.value("location")) == (status, b"http://elsewhere.test/x?y=%2F")
    assert len(plain.upstream.requests) == 1


def test_an_early_final_reply_passes_while_the_body_is_still_coming(plain: Stage) -> None:
    def refuse(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.send(reply(507, b"disk full"))
        connection.wait_closed()

    plain.upstream.script(refuse)
    client = plain.client()
    client.send(request("PUT", plain.path(), ("Content-Length", "50000000")) + b"a" * 100_000)
    answer = client.read_reply()
    assert (answer.status, answer.body) == (507, b"disk full")
    plain.upstream.wait_until(lambda: plain.upstream.connections[0].ended is not None)
