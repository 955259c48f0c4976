"""Heads: the strict grammar of RFC 9112, what passes and what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.http1.fields import HOP_BY_HOP, NOTED
from blueprint_proxy.http1.heads import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    MalformedMessage,
    ReplyHead,
    RequestHead,
    check_partial,
    parse_reply,
    parse_request,
    parse_trailers,
)


def request(*lines: bytes, start: bytes = b"GET /n/x HTTP/1.1", host: bytes = b"Host: a\r\n") -> RequestHead:
    return parse_request(start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def reply(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> ReplyHead:
    return parse_reply(start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def status_of_refused(head: bytes) -> int:
    with pytest.raises(MalformedMessage) as caught:
        parse_request(head)
    return caught.value.status


# what is refused in a request

CHUNKED = b"Transfer-Encoding: chunked"

AMBIGUOUS_LINES: dict[str, tuple[bytes, ...]] = {
    "a length and a coding": (b"Content-Length: 5", CHUNKED),
    "a coding and a length": (CHUNKED, b"Content-Length: 0"),
    "two different lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "two equal lengths in two cases": (b"Content-Length: 5", b"content-length: 5"),
    "a list of equal lengths": (b"Content-Length: 5, 5",),
    "a length with a sign": (b"Content-Length: +5",),
    "a negative length": (b"Content-Length: -5",),
    "a length in hexadecimal": (b"Content-Length: 0x5",),
    "a length with an underscore": (b"Content-Length: 1_0",),
    "a length of other scripts' digits": (b"Content-Length: \xd9\xa5",),
    "an empty length": (b"Content-Length:",),
    "a length of nineteen digits": (b"Content-Length: 1000000000000000000",),
    "a coding that is not chunked": (b"Transfer-Encoding: gzip",),
    "chunked and another coding": (b"Transfer-Encoding: gzip, chunked",),
    "chunked twice in a list": (b"Transfer-Encoding: chunked, chunked",),
    "chunked on two lines": (CHUNKED, CHUNKED),
    "chunked and then identity": (CHUNKED, b"Transfer-Encoding: identity"),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1",),
    "an empty coding": (b"Transfer-Encoding:",),
    "a folded line": (b"X-A: 1", b" 2"),
    "a line folded by a tab": (b"X-A: 1", b"\t2"),
    "a folded coding": (b"Transfer-Encoding:", b" chunked"),
    "a bare LF": (b"X-A: 1\nX-B: 2",),
    "a bare CR": (b"X-A: 1\rX-B: 2",),
    "two CRs before the LF": (b"X-A: 1\r",),
    "a NUL in a value": (b"X-A: 1\x002",),
    "an escape in a value": (b"X-A: \x1b[2J",),
    "a vertical tab in a value": (b"X-A: 1\x0b",),
    "a form feed in a value": (b"X-A: \x0c1",),
    "a DEL in a value": (b"X-A: \x7f",),
    "a space before the colon": (b"Content-Length : 5",),
    "a tab before the colon": (b"X-A\t: 5",),
    "a space before a name": (b" X-A: 5",),
    "a space in a name": (b"X A: 5",),
    "an empty name": (b": 5",),
    "a line without a colon": (b"X-A",),
    "a latin-1 name": (b"X-\xe4: 5",),
    "a name in brackets": (b"X[a]: 5",),
    "a name in quotes": (b'"X-A": 5',),
    "a second Host": (b"Host: b",),
    "a second equal Host in another case": (b"hOST: a",),
    "two different fields for this proxy": (b"x-blueprint-run: a", b"X-Blueprint-Run: b"),
}


@pytest.mark.parametrize("lines", AMBIGUOUS_LINES.values(), ids=AMBIGUOUS_LINES.keys())
def test_an_ambiguous_field_line_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedMessage) as caught:
        request(*lines, start=b"POST /n/x HTTP/1.1")
    assert caught.value.status == 400


HOSTS: dict[str, bytes] = {
    "none": b"",
    "an empty one": b"Host:\r\n",
    "a list": b"Host: a, b\r\n",
    "a path": b"Host: a/b\r\n",
    "a user": b"Host: me@a\r\n",
    "a space": b"Host: a b\r\n",
    "a port of letters": b"Host: a:80x\r\n",
    "a port of six digits": b"Host: a:123456\r\n",
    "two ports": b"Host: a:80:80\r\n",
    "a backslash": b"Host: a\\b\r\n",
    "a latin-1 letter": b"Host: \xe4\r\n",
    "an open bracket": b"Host: [::1\r\n",
    "a query": b"Host: a?b\r\n",
}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
def test_a_host_that_is_no_host_is_refused(host: bytes) -> None:
    with pytest.raises(MalformedMessage):
        request(host=host)


@pytest.mark.parametrize(
    "value", [b"a", b"A.example", b"127.0.0.1:8900", b"[::1]:8900", b"[::ffff:127.0.0.1]", b"a:", b"x_y-z", b"%61"]
)
def test_a_host_is_kept_as_it_came(value: bytes) -> None:
    assert request(host=b"Host: " + value + b"\r\n").host == value


REQUEST_LINES: dict[str, bytes] = {
    "a method that is no token": b"GE(T) /n/x HTTP/1.1",
    "no method": b" /n/x HTTP/1.1",
    "a space before the method": b" GET /n/x HTTP/1.1",
    "no version": b"GET /n/x",
    "no target": b"GET  HTTP/1.1",
    "a version in lower case": b"GET /n/x http/1.1",
    "a minor of two digits": b"GET /n/x HTTP/1.10",
    "a major of two digits": b"GET /n/x HTTP/01.1",
    "a version without a minor": b"GET /n/x HTTP/1",
    "another protocol": b"GET /n/x ICY/1.1",
    "a space after the version": b"GET /n/x HTTP/1.1 ",
    "two spaces before the target": b"GET  /n/x HTTP/1.1",
    "two spaces after the target": b"GET /n/x  HTTP/1.1",
    "a tab for a space": b"GET\t/n/x HTTP/1.1",
    "a space in the target": b"GET /n/ x HTTP/1.1",
    "a latin-1 byte in the target": b"GET /n/\xe4 HTTP/1.1",
    "a control in the target": b"GET /n/\x01 HTTP/1.1",
    "a DEL in the target": b"GET /n/\x7f HTTP/1.1",
    "a fragment in the target": b"GET /n/x#y HTTP/1.1",
    "a bare LF after it": b"GET /n/x HTTP/1.1\nX-A: 1",
    "a bare CR after it": b"GET /n/x HTTP/1.1\rX-A: 1",
    "a NUL in it": b"GET /n/x\x00 HTTP/1.1",
}


@pytest.mark.parametrize("start", REQUEST_LINES.values(), ids=REQUEST_LINES.keys())
def test_a_wrong_request_line_is_refused(start: bytes) -> None:
    assert status_of_refused(start + b"\r\nHost: a\r\n\r\n") == 400


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0"])
def test_another_major_version_is_not_spoken(version: bytes) -> None:
    assert status_of_refused(b"GET / " + version + b"\r\nHost: a\r\n\r\n") == 505


def test_an_expectation_that_nobody_knows_is_417() -> None:
    assert status_of_refused(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n") == 417


def test_a_coding_in_http_1_0_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        request(CHUNKED, start=b"POST /n/x HTTP/1.0")


def test_no_refusal_repeats_a_value() -> None:
    with pytest.raises(MalformedMessage) as caught:
        request(b"X-Blueprint-Token: sesame", b"X-Blueprint-Token: open")
    assert "sesame" not in str(caught.value)


# limits


def test_a_target_at_its_limit_passes() -> None:
    assert len(request(start=b"GET /" + b"a" * (MAX_TARGET - 1) + b" HTTP/1.1").target) == MAX_TARGET


@pytest.mark.parametrize("end", [b" HTTP/1.1", b" HTTP/1.1 wrong", b""])
def test_a_target_over_its_limit_is_414(end: bytes) -> None:
    assert status_of_refused(b"GET /" + b"a" * MAX_TARGET + end + b"\r\nHost: a\r\n\r\n") == 414


def head_of(size: int) -> bytes:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


def test_a_head_at_its_limit_passes() -> None:
    assert parse_request(head_of(MAX_HEAD)).fields.get(b"x-a")


def test_a_head_over_its_limit_is_431() -> None:
    assert status_of_refused(head_of(MAX_HEAD + 1)) == 431


def test_as_many_fields_as_the_limit_pass() -> None:
    assert len(list(request(*[b"a:"] * (MAX_FIELDS - 1)).fields)) == MAX_FIELDS - 1


def test_more_fields_than_the_limit_are_431() -> None:
    assert status_of_refused(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:\r\n" * MAX_FIELDS + b"\r\n") == 431


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "line",
    [b"a" * 64_000, b"a" * 64_000 + b" ", b"X-A:" + b" " * 64_000 + b"\x00", b"a:" * 32_000 + b"\x00", b"\t" * 64_000],
)
def test_a_hostile_line_is_refused_without_work_beyond_its_length(line: bytes) -> None:
    for _ in range(100):
        with pytest.raises(MalformedMessage):
            request(line)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [b"X-A", b"Via", b"X-Blueprint-Run", b"Connection", b"X-Request-Id"])
def test_a_value_of_64_000_spaces_passes_without_work_beyond_its_length(name: bytes) -> None:
    for _ in range(100):
        request(name + b":" + b" " * 64_000)


# what is refused before the head has ended


@pytest.mark.parametrize(
    "begun", [b"", b"G", b"GET /n/x HTTP/1.1", b"GET /n/x HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: a\r\nX-", b"\r"]
)
def test_a_head_that_may_become_right_is_waited_for(begun: bytes) -> None:
    check_partial(begun)


@given(st.integers(0, 400))
def test_no_beginning_of_a_right_head_is_refused(size: int) -> None:
    head = b"POST /n/x?y=z HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-A: " + b"\xe4 " * 150 + b"\r\n\r\n"
    check_partial(head[: min(size, len(head) - 1)])


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET /\r\n", 400),
        (b"\x16\x03\x01\x02\r\n", 400),
        (b"GET /" + b"a" * (MAX_TARGET + 32), 414),
        (b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1\r\n", 414),
        (head_of(MAX_HEAD + 8)[:-4], 431),
    ],
)
def test_a_head_that_cannot_become_right_is_refused_at_once(begun: bytes, status: int) -> None:
    with pytest.raises(MalformedMessage) as caught:
        check_partial(begun)
    assert caught.value.status == status


# what passes


@pytest.mark.parametrize(
    "line",
    [
        b"X-A:",
        b"X-A: ",
        b"X-A:1",
        b"X-A:\t 1 \t",
        b"x-A: a\tb",
        b"X-A: \x80\xff\xe4",
        b"X-A: :a:b",
        b"!#$%&'*+-.^_`|~9z: tokens may look like this",
        b'X-A: "quoted, \\" text"',
        b"X-A: \xc3\xbc",
        b"Hostess: x",
        b"Content-Length-X: x",
        b"X-Content-Length: x",
        b"Tea: x",
        b"T: x",
        b"Transfer-Encodings: x",
        b"Upgrade-Insecure-Requests: 1",
        b"Expects: miracles",
        b"Proxy-Status: x",
        b"X-Blueprin: x",
        b"X-Blueprint: x",
        b"Trailer: X-Checksum",
        b"Via: 1.1 other",
        b"X-Request-Id: \xe4",
        b"X-Goog-Api-Client: gccl/1",
        b"Grpc-Timeout: 1S",
        b"X-Server-Timeout: 1",
        b"Idempotency-Key: 1",
        b"Content-Length: 05",
    ],
)
def test_an_end_to_end_line_passes_byte_for_byte(line: bytes) -> None:
    assert request(b"X-First: 1", line, b"x-last: 2").fields.raw == b"X-First: 1\r\n" + line + b"\r\nx-last: 2\r\n"


def test_duplicates_pass_in_their_order_and_case() -> None:
    lines = (b"X-A: 1", b"x-a: 2", b"Cookie: b", b"X-A: 1")
    assert request(*lines).fields.raw == b"".join(line + b"\r\n" for line in lines)


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP - {b"transfer-encoding"}))
@pytest.mark.parametrize("write", [bytes.lower, bytes.upper, bytes.title])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_field_of_the_connection_does_not_pass(name: bytes, write: object, place: int) -> None:
    assert callable(write)
    lines = [b"X-A: 1", b"X-B: 2"]
    lines.insert(place, write(name) + b": x")
    assert request(*lines).fields.raw == b"X-A: 1\r\nX-B: 2\r\n"
    assert reply(*lines).fields.raw == b"X-A: 1\r\nX-B: 2\r\n"


def test_host_and_expect_do_not_pass() -> None:
    assert request(b"Expect: 100-Continue", b"X-A: 1").fields.raw == b"X-A: 1\r\n"


def test_fields_of_this_proxy_do_not_pass_in_any_case() -> None:
    head = request(b"X-BLUEPRINT-Run: a", b"x-blueprint-anything:b", b"X-Blueprint-: c")
    assert head.fields.raw == b""
    assert head.own == {b"x-blueprint-run": b"a", b"x-blueprint-anything": b"b", b"x-blueprint-": b"c"}


def test_an_equal_second_field_for_this_proxy_changes_nothing() -> None:
    assert request(b"X-Blueprint-Run: a", b"x-blueprint-run:a ").own == {b"x-blueprint-run": b"a"}


def test_fields_that_connection_names_do_not_pass() -> None:
    head = request(
        b"Connection: X-A,close ,, x-b", b"X-A: 1", b"X-C:  3 ", b"x-B: 2", b"CONNECTION:\tX-D", b"X-D: 4", b"X-AB: 5"
    )
    assert head.fields.raw == b"X-C:  3 \r\nX-AB: 5\r\n"
    assert head.named == {b"x-a", b"x-b", b"x-d"}
    assert not head.keep_alive


def test_fields_that_an_upstreams_connection_names_do_not_pass() -> None:
    head = reply(b"Connection: x-a", b"X-A: 1", b"connection: close, X-B", b"X-B: 2", b"X-C:3")
    assert head.fields.raw == b"X-C:3\r\n"
    assert head.named == {b"x-a", b"x-b"}
    assert not head.keep_alive


def test_a_length_cannot_be_named_away() -> None:
    head = request(b"Connection: Content-Length, x-a", b"Content-Length: 5")
    assert (head.length, head.fields.raw) == (5, b"Content-Length: 5\r\n")


def test_a_coding_cannot_be_named_away() -> None:
    assert request(b"Connection: Transfer-Encoding", CHUNKED).chunked


def test_an_empty_connection_field_names_nothing() -> None:
    head = request(b"Connection:", b"X-A: 1")
    assert (head.fields.raw, head.keep_alive) == (b"X-A: 1\r\n", True)


# what is read


def test_method_and_target_are_kept_as_they_came() -> None:
    head = request(start=b'pRoPfInD /n/%7e//a?b=%20&c=|{}"\\ HTTP/1.1')
    assert (head.method, head.target) == ("pRoPfInD", b'/n/%7e//a?b=%20&c=|{}"\\')


def test_a_request_has_no_length_unless_it_says_so() -> None:
    head = request()
    assert (head.length, head.chunked) == (None, False)


@pytest.mark.parametrize("value", [b"5", b"\t5 ", b"000000000000000005"])
def test_a_length_is_read(value: bytes) -> None:
    assert request(b"content-LENGTH:" + value).length == 5


@pytest.mark.parametrize("value", [b"chunked", b" Chunked\t", b"CHUNKED"])
def test_chunked_is_read(value: bytes) -> None:
    head = request(b"transfer-ENCODING:" + value)
    assert (head.chunked, head.fields.raw) == (True, b"")


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"HTTP/1.1", [], True),
        (b"HTTP/1.1", [b"close"], False),
        (b"HTTP/1.1", [b"Keep-Alive"], True),
        (b"HTTP/1.1", [b"keep-alive, CLOSE"], False),
        (b"HTTP/1.1", [b"keep-alive", b"close"], False),
        (b"HTTP/1.0", [], False),
        (b"HTTP/1.0", [b"Keep-Alive"], True),
        (b"HTTP/1.0", [b"keep-alive", b"close"], False),
        (b"HTTP/1.7", [], True),
    ],
)
def test_a_connection_persists_as_version_and_connection_say(
    version: bytes, connection: list[bytes], kept: bool
) -> None:
    lines = [b"Connection: " + value for value in connection]
    assert request(*lines, start=b"GET / " + version).keep_alive is kept
    if version != b"HTTP/1.7":
        assert reply(*lines, start=version + b" 200 OK").keep_alive is kept


def test_http_1_0_needs_no_host() -> None:
    assert request(host=b"", start=b"GET / HTTP/1.0").host is None


def test_a_later_minor_version_is_taken_for_1_1() -> None:
    assert request(start=b"GET / HTTP/1.9").minor == 1


def test_an_expectation_is_read() -> None:
    assert request(b"Expect: 100-CONTINUE").expect_continue


def test_an_upgrade_is_read() -> None:
    assert request(b"Upgrade: websocket", b"Connection: upgrade").upgrade


def test_expect_and_upgrade_mean_nothing_in_http_1_0() -> None:
    head = request(b"Expect: 100-continue", b"Upgrade: h2c", start=b"POST / HTTP/1.0")
    assert (head.expect_continue, head.upgrade, head.fields.raw) == (False, False, b"")


def test_every_via_is_read_and_passes() -> None:
    head = request(b"Via: 1.1 a", b"via: 1.0 b (c)")
    assert (head.via, head.fields.raw) == ((b"1.1 a", b"1.0 b (c)"), b"Via: 1.1 a\r\nvia: 1.0 b (c)\r\n")


def test_fields_read_here_too_pass_on() -> None:
    lines = [b"%b:  v " % name.title() for name in sorted(NOTED)]
    head = request(*lines)
    assert head.noted == dict.fromkeys(NOTED, b"v")
    assert head.fields.raw == b"".join(line + b"\r\n" for line in lines)


def test_two_fields_of_one_name_read_here_are_one_list() -> None:
    assert request(b"x-request-id: a", b"x-request-id: b").noted == {b"x-request-id": b"a, b"}


def test_a_value_that_looks_like_a_field_line_is_none() -> None:
    head = request(b"X-A: Host: b", b"X-B: ,Content-Length: 5")
    assert (head.host, head.length) == (b"a", None)


def test_no_credential_is_in_a_repr() -> None:
    head = request(
        b"X-Blueprint-Token: sesame",
        b"Authorization: sesame",
        b"Idempotency-Key: sesame",
        start=b"GET /?key=sesame HTTP/1.1",
    )
    assert "sesame" not in repr(head)
    assert "sesame" not in repr(reply(b"Set-Cookie: sesame"))


# replies

REPLY_LINES: dict[str, tuple[bytes, ...]] = {
    "two different lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "two equal lengths": (b"Content-Length: 5", b"content-length: 5"),
    "a list of lengths": (b"Content-Length: 5, 5",),
    "a negative length": (b"Content-Length: -1",),
    "a length and a coding": (b"Content-Length: 5", CHUNKED),
    "another coding": (b"Transfer-Encoding: gzip, chunked",),
    "chunked twice": (CHUNKED, CHUNKED),
    "a folded line": (b"X-A: 1", b" 2"),
    "a bare LF": (b"X-A: 1\nX-B: 2",),
    "a NUL": (b"X-A: \x00",),
    "a space before the colon": (b"X-A : 1",),
    "a line without a colon": (b"X-A",),
}


@pytest.mark.parametrize("lines", REPLY_LINES.values(), ids=REPLY_LINES.keys())
def test_an_ambiguous_reply_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedMessage):
        reply(*lines)


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\rK",
        b"ICY 200 OK",
        b"",
    ],
)
def test_a_wrong_status_line_is_refused(start: bytes) -> None:
    with pytest.raises(MalformedMessage):
        reply(start=start)


def test_a_coding_in_an_http_1_0_reply_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        reply(CHUNKED, start=b"HTTP/1.0 200 OK")


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"HTTP/1.1 200 OK", b"OK"),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.1 200 Gut \xe4\t!", b"Gut \xe4\t!"),
    ],
)
def test_a_reason_phrase_is_kept_as_it_came(start: bytes, reason: bytes) -> None:
    assert reply(start=start).reason == reason


def test_a_reply_keeps_its_length_line_and_its_order() -> None:
    head = reply(b"Server: x", b"content-length:5 ", b"Via: 1.1 b", b"Trailer: X-C", b"Set-Cookie: a", b"Set-Cookie: b")
    assert head.length == 5
    assert head.fields.raw == (
        b"Server: x\r\ncontent-length:5 \r\nVia: 1.1 b\r\nTrailer: X-C\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
    )


def test_an_upstreams_word_in_our_name_does_not_pass() -> None:
    assert reply(b"X-Blueprint-Error: x", b"x-request-id: y", b"X-A: 1").fields.raw == b"X-A: 1\r\n"


def test_trailers_are_checked_like_fields() -> None:
    with pytest.raises(MalformedMessage):
        parse_trailers(b"X-A: 1\r\n 2\r\n")


def test_trailers_are_kept_as_they_came() -> None:
    assert parse_trailers(b"X-A:\xe4 \r\nx-a:\r\n").raw == b"X-A:\xe4 \r\nx-a:\r\n"
