"""Messages that two parsers could read in two ways: refused, the connection closed, nothing passed on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from support.wire import CutShortError, chunked, reply, request

if TYPE_CHECKING:
    from support.stage import Stage

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*lines: bytes, start: bytes = b"POST /NAME/thing HTTP/1.1", host: bytes = b"Host: a\r\n") -> bytes:
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"

HEADS: dict[str, bytes] = {
    "a length and a coding": post(b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n" + SMUGGLED,
    "a coding and a length": post(CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n" + SMUGGLED,
    "a length and an unknown coding": post(b"Content-Length: 5", b"Transfer-Encoding: cow") + b"12345",
    "two different lengths": post(b"Content-Length: 5", b"Content-Length: 6") + b"123456",
    "two equal lengths": post(b"Content-Length: 5", b"content-length: 5") + b"12345",
    "a list of equal lengths": post(b"Content-Length: 5, 5") + b"12345",
    "a list of lengths": post(b"Content-Length: 5, 6") + b"12345",
    "a length with a plus": post(b"Content-Length: +5") + b"12345",
    "a negative length": post(b"Content-Length: -5") + b"12345",
    "a length with a space inside": post(b"Content-Length: 5 5") + b"12345",
    "a length in hexadecimal": post(b"Content-Length: 0x5") + b"12345",
    "a length with an underscore": post(b"Content-Length: 1_0") + b"1234567890",
    "a length of other digits": post(b"Content-Length: \xd9\xa5") + b"12345",
    "an empty length": post(b"Content-Length:") + b"12345",
    "a length with a fraction": post(b"Content-Length: 5.0") + b"12345",
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551621") + b"12345",
    "a quoted length": post(b'Content-Length: "5"') + b"12345",
    "another coding": post(b"Transfer-Encoding: gzip") + b"0\r\n\r\n",
    "identity coding": post(b"Transfer-Encoding: identity") + b"0\r\n\r\n",
    "two codings": post(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked on two lines": post(CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked and then identity": post(CHUNKED, b"Transfer-Encoding: identity") + b"0\r\n\r\n",
    "xchunked": post(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked with a vertical tab": post(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;a=b") + b"0\r\n\r\n",
    "an empty coding": post(b"Transfer-Encoding:") + b"0\r\n\r\n",
    "a coding in HTTP/1.0": post(CHUNKED, start=b"POST /NAME/thing HTTP/1.0") + b"0\r\n\r\n",
    "a folded line": post(b"X-A: 1", b" folded", b"X-B: 2"),
    "a folded coding": post(b"Transfer-Encoding:", b" chunked") + b"0\r\n\r\n",
    "a tab-folded line": post(b"X-A: 1", b"\tfolded"),
    "a bare LF after a field": b"GET /NAME/thing HTTP/1.1\r\nHost: a\nX-A: 1\r\n\r\n",
    "a bare LF after the request line": b"GET /NAME/thing HTTP/1.1\nHost: a\r\n\r\n",
    "bare LFs throughout": b"GET /NAME/thing HTTP/1.1\nHost: a\n\n",
    "a bare LF at the end": b"GET /NAME/thing HTTP/1.1\r\nHost: a\r\n\n",
    "a bare CR in a value": post(b"X-A: 1\rX-B: 2"),
    "a bare CR as a line end": b"GET /NAME/thing HTTP/1.1\rHost: a\r\n\r\n",
    "a NUL in a value": post(b"X-A: 1\x002"),
    "a control in a value": post(b"X-A: 1\x012"),
    "DEL in a value": post(b"X-A: 1\x7f2"),
    "a NUL in a name": post(b"X-\x00A: 1"),
    "a space before the colon": post(b"Content-Length : 5") + b"12345",
    "a tab before the colon": post(b"X-A\t: 1"),
    "a space inside a name": post(b"X A: 1"),
    "white space before the first field": post(host=b" Host: a\r\n"),
    "white space before a later field": post(b" X-A: 1"),
    "an empty name": post(b": 1"),
    "a line without a colon": post(b"X-A"),
    "a name of latin-1": post(b"X-\xe4: 1"),
    "brackets in a name": post(b"X[a]: 1"),
    "two Hosts": post(b"Host: b"),
    "two equal Hosts": post(b"host: a"),
    "no Host": post(host=b""),
    "an empty Host list": post(host=b"Host: a, b\r\n"),
    "a Host with a path": post(host=b"Host: a/b\r\n"),
    "a Host with a user": post(host=b"Host: me@a\r\n"),
    "a Host with a space": post(host=b"Host: a b\r\n"),
    "a Host with a bad port": post(host=b"Host: a:80x\r\n"),
    "a Host with a backslash": post(host=b"Host: a\\b\r\n"),
    "a Host of latin-1": post(host=b"Host: \xe4\r\n"),
    "a method that is no token": post(start=b"GE(T) /NAME/thing HTTP/1.1"),
    "no method": post(start=b" /NAME/thing HTTP/1.1"),
    "no version": post(start=b"GET /NAME/thing"),
    "lower-case http": post(start=b"GET /NAME/thing http/1.1"),
    "a version with two digits": post(start=b"GET /NAME/thing HTTP/1.10"),
    "a version with a comma": post(start=b"GET /NAME/thing HTTP/1,1"),
    "a version without a minor": post(start=b"GET /NAME/thing HTTP/1"),
    "another protocol": post(start=b"GET /NAME/thing ICY/1.1"),
    "space after the version": post(start=b"GET /NAME/thing HTTP/1.1 "),
    "two spaces before the target": post(start=b"GET  /NAME/thing HTTP/1.1"),
    "two spaces after the target": post(start=b"GET /NAME/thing  HTTP/1.1"),
    "a tab after the method": post(start=b"GET\t/NAME/thing HTTP/1.1"),
    "a space in the target": post(start=b"GET /NAME/thi ng HTTP/1.1"),
    "latin-1 in the target": post(start=b"GET /NAME/th\xefng HTTP/1.1"),
    "a control in the target": post(start=b"GET /NAME/th\x01ng HTTP/1.1"),
    "a fragment in the target": post(start=b"GET /NAME/thing#part HTTP/1.1"),
    "a target that is no path": post(start=b"GET NAME/thing HTTP/1.1"),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}

CHUNKS: dict[str, bytes] = {
    "hexadecimal junk": b"5g\r\n12345\r\n0\r\n\r\n",
    "0x": b"0x5\r\n12345\r\n0\r\n\r\n",
    "a plus": b"+5\r\n12345\r\n0\r\n\r\n",
    "a minus": b"-5\r\n12345\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n1234567890123456\r\n0\r\n\r\n",
    "no digits": b"\r\n12345\r\n0\r\n\r\n",
    "leading white space": b" 5\r\n12345\r\n0\r\n\r\n",
    "more than sixteen digits": b"00000000000000005\r\n12345\r\n0\r\n\r\n",
    "a number that overflows": b"fffffffffffffffff\r\n12345\r\n0\r\n\r\n",
    "a bare LF after the size": b"5\n12345\r\n0\r\n\r\n",
    "a bare CR after the size": b"5\r12345\r\n0\r\n\r\n",
    "a bare LF after the data": b"5\r\n12345\n0\r\n\r\n",
    "data longer than its size": b"5\r\n123456\r\n0\r\n\r\n",
    "data followed by another CR": b"5\r\n12345\r\r0\r\n\r\n",
    "a bare LF in an extension": b"5;a\n=b\r\n12345\r\n0\r\n\r\n",
    "a NUL in an extension": b"5;a\x00b\r\n12345\r\n0\r\n\r\n",
    "an overlong extension": b"5;" + b"a" * 70_000 + b"\r\n12345\r\n0\r\n\r\n",
    "extensions that outweigh the data": b"".join(b"1;%b\r\nx\r\n" % (b"a" * 500) for _ in range(400)) + b"0\r\n\r\n",
    "overlong trailers": b"0\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "a folded trailer": b"0\r\nX-A: 1\r\n 2\r\n\r\n",
    "a bare LF in the trailers": b"0\r\nX-A: 1\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX-A : 1\r\n\r\n",
}


def assert_a_later_call_is_the_only_one(stage: Stage) -> None:
    """Whatever the proxy was to send has been sent once a later call has gone through."""
    stage.upstream.answer(reply(200, b"later"))
    assert stage.call("GET", "/later").body == b"later"
    assert [sent.target for sent in stage.upstream.requests if sent.complete] == [b"/later"]
    assert b"smuggled" not in stage.upstream.received


@pytest.mark.parametrize("name", HEADS)
def test_an_ambiguous_head_is_refused_and_nothing_passes(plain: Stage, name: str) -> None:
    client = plain.client()
    client.send(HEADS[name].replace(b"NAME", plain.name.encode()))
    answer = client.read_reply()
    assert (answer.status, answer.error) == (400, "bad_request")
    assert answer.value("connection") == b"close"
    client.assert_closed()
    assert_a_later_call_is_the_only_one(plain)
    assert len(plain.upstream.requests) == 1


@pytest.mark.parametrize("name", CHUNKS)
def test_a_bad_chunk_ends_the_call_and_never_completes_upstream(plain: Stage, name: str) -> None:
    client = plain.client()
    client.send(request("POST", plain.path(), ("Transfer-Encoding", "chunked")))
    client.send(CHUNKS[name] + SMUGGLED)
    answer = client.read_reply()
    assert (answer.status, answer.error) == (400, "bad_request")
    client.assert_closed()
    plain.upstream.wait_until(lambda: all(one.ended for one in plain.upstream.connections))
    assert_a_later_call_is_the_only_one(plain)


@pytest.mark.parametrize("start", [b"GET /NAME/thing HTTP/2.0", b"GET /NAME/thing HTTP/0.9", b"PRI * HTTP/2.0"])
def test_another_major_version_is_refused(plain: Stage, start: bytes) -> None:
    client = plain.client()
    client.send(post(start=start.replace(b"NAME", plain.name.encode())))
    assert client.read_reply().status in {400, 505}
    client.assert_closed()
    assert_a_later_call_is_the_only_one(plain)


def test_a_later_minor_version_is_spoken_to_as_1_1(plain: Stage) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.send(f"GET {plain.path()} HTTP/1.2\r\nHost: a\r\n\r\n".encode())
    answer = client.read_reply()
    assert (answer.status, answer.minor) in {(200, 1), (400, 1)}


def test_what_follows_a_length_is_the_next_request_and_not_the_body(plain: Stage) -> None:
    plain.upstream.echo()
    client = plain.client()
    client.send(request("POST", plain.path("/one"), body=b"12345") + request("GET", plain.path("/two")))
    assert b"/one" in client.read_reply().body
    assert b"/two" in client.read_reply().body


def test_after_a_refused_request_what_was_pipelined_behind_it_is_not_read(plain: Stage) -> None:
    client = plain.client()
    client.send(post(b"Content-Length: 5", b"Content-Length: 5").replace(b"NAME", plain.name.encode()) + b"12345")
    client.send(request("GET", plain.path("/smuggled")))
    assert client.read_reply().status == 400
    client.assert_closed()
    assert_a_later_call_is_the_only_one(plain)


@pytest.mark.parametrize("extension", [b";a=b", b";a", b';a="quoted \\" text"', b" ;a", b";a=b;c=d"])
def test_chunk_extensions_are_read_over(plain: Stage, extension: bytes) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.send(request("POST", plain.path(), ("Transfer-Encoding", "chunked")))
    client.send(b"5" + extension + b"\r\n12345\r\n0" + extension + b"\r\n\r\n")
    assert client.read_reply().status == 200
    assert plain.upstream.requests[0].body == b"12345"


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_the_case_of_chunked_does_not_matter(plain: Stage, coding: str) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.send(request("POST", plain.path(), ("transfer-encoding", coding)) + chunked(b"123", b"45"))
    assert client.read_reply().status == 200
    assert plain.upstream.requests[0].body == b"12345"


def test_an_empty_line_before_a_request_does_no_harm(plain: Stage) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.send(request("GET", plain.path()))
    assert client.read_reply().status == 200
    client.send(b"\r\n" + request("GET", plain.path()))
    assert client.read_reply().status in {200, 400}


def test_a_head_that_never_ends_with_a_bare_lf_in_it_is_refused_at_once(plain: Stage) -> None:
    client = plain.client()
    client.send(f"GET {plain.path()} HTTP/1.1\nHost: a\nX-A: ".encode())
    assert client.read_reply().status == 400
    client.assert_closed()


@pytest.mark.parametrize("cut", [20, 45, 70])
def test_a_request_that_ends_in_its_middle_reaches_nobody_whole(plain: Stage, cut: int) -> None:
    client = plain.client()
    whole = request("POST", plain.path(), body=b"1234567890")
    client.send(whole[: len(whole) * cut // 100])
    client.half_close()
    with contextlib.suppress(CutShortError, ConnectionResetError):  # it may also just be closed
        assert client.read_reply().status in {400, 408}
    plain.upstream.answer(reply())
    assert plain.call("GET", "/later").status == 200
    assert [sent.target for sent in plain.upstream.requests if sent.complete] == [b"/later"]


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_that_comes_in_small_pieces_is_read_the_same(plain: Stage, size: int) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.sock.setsockopt(6, 1, 1)  # TCP_NODELAY: each piece is a segment of its own
    whole = request("POST", plain.path(), ("Transfer-Encoding", "chunked"), ("X-A", "b"))
    whole += chunked(b"hello", b"world", trailers=(("X-T", "1"),))
    for at in range(0, len(whole), size):
        client.send(whole[at : at + size])
    assert client.read_reply().status == 200
    sent = plain.upstream.requests[0]
    assert (sent.body, sent.value("x-a")) == (b"helloworld", b"b")
