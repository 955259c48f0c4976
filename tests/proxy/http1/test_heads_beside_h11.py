"""Heads: what is accepted here, h11 reads in the same way; what only h11 accepts is refused for a known reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blueprint_proxy.http1.fields import HOP_BY_HOP, Fields
from blueprint_proxy.http1.heads import MalformedMessage, parse_reply, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = st.sampled_from(
    [
        b"Host: a",
        b"Host: a",
        b"Host: a:80",
        b"host: b",
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"content-length: 05",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Connection: close",
        b"Connection: keep-alive, X-A",
        b"connection: x-b",
        b"X-A: 1",
        b"x-a:",
        b"X-B:\t\xe4 b ",
        b"X-Blueprint-Run: a",
        b"X-Blueprint-Run: b",
        b"Via: 1.1 x",
        b"Expect: 100-continue",
        b"Expect: no",
        b"TE: trailers",
        b"Trailer: x",
        b"Upgrade: h2c",
        b"X-Request-Id: 1",
        b"Authorization: Bearer x",
        b" folded",
    ]
)
STARTS = st.sampled_from(
    [b"GET / HTTP/1.1"] * 4
    + [b"POST /n/x?y HTTP/1.1", b"PUT /n HTTP/1.0", b"GET http://a/ HTTP/1.1", b"GET * HTTP/1.2", b"GET / HTTP/2.0"]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 4
    + [b"HTTP/1.0 200 OK", b"HTTP/1.1 304", b"HTTP/1.1 503 ", b"HTTP/1.1 103 Early Hints", b"HTTP/1.2 200 OK"]
)
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 3),
        st.sampled_from([bytes([b]) for b in b'\x00\x01\t\n\x0b\r !"#,:;/aZ0_-\x7f\x85\xa0\xff'] + [b"\r\n", b"\r\n "]),
    ),
    max_size=2,
)


@st.composite
def heads(draw: st.DrawFn, starts: st.SearchStrategy[bytes], first: list[bytes]) -> bytes:
    """A head that is mostly right, and then damaged in up to two places."""
    lines = [draw(starts), *first, *draw(st.lists(LINES, max_size=5))]
    head = b"".join(line + b"\r\n" for line in lines)
    for where, removed, inserted in draw(CHANGES):
        at = int(where * len(head))
        head = head[:at] + inserted + head[at + removed :]
    return head.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n\r\n"


def by_h11(connection: h11.Connection, head: bytes) -> h11.Request | h11.Response | h11.InformationalResponse | None:
    """What h11 reads, or None where it refuses."""
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if isinstance(event, (h11.Request, h11.Response, h11.InformationalResponse)):
        return event
    return None


def end_to_end(event: h11.Request | h11.Response | h11.InformationalResponse, dropped: set[bytes]) -> Fields:
    """h11's fields without those that must not pass."""
    named = {
        token.strip(b" \t").lower()
        for name, value in event.headers
        if name == b"connection"
        for token in value.split(b",")
    } - {b"content-length"}
    return Fields.of(
        (raw, value)
        for raw, value in event.headers.raw_items()
        if raw.lower() not in HOP_BY_HOP | named | dropped and not raw.lower().startswith(b"x-blueprint-")
    )


def framing(event: h11.Request | h11.Response | h11.InformationalResponse) -> tuple[int | None, bool]:
    fields = dict(event.headers)
    length = fields.get(b"content-length")
    return (None if length is None else int(length), b"transfer-encoding" in fields)


def values(head: bytes, name: bytes) -> list[bytes]:
    return [value.strip(b" \t\r") for value in re.findall(rb"(?im)^%b:(.*)$" % name, head)]


DIFFERENCES: dict[str, Callable[[bytes], bool]] = {
    "h11 takes a line end without its CR": lambda head: head.count(b"\n") != head.count(b"\r\n"),
    "h11 joins folded lines": lambda head: re.search(rb"\n[ \t]", head) is not None,
    "h11 takes controls but NUL in values": lambda head: re.search(rb"[\x01-\x08\x0e-\x1f\x7f]", head) is not None,
    "h11 takes a fragment in a target": lambda head: b"#" in head.partition(b"\r\n")[0],
    "h11 does not look at the major version": lambda head: b"HTTP/1." not in head.partition(b"\r\n")[0],
    "h11 does not look at a reply's minor version": lambda head: re.match(rb"HTTP/1\.[^01]", head) is not None,
    "h11 takes a status below 100": lambda head: re.match(rb"HTTP/1\.[01] 0", head) is not None,
    "h11 does not look into Host": lambda head: any(
        re.fullmatch(rb"[A-Za-z0-9.!_-]+(:[0-9]*)?", value) is None for value in values(head, b"host")
    ),
    "h11 takes equal lengths for one": lambda head: (
        len([one for value in values(head, b"content-length") for one in value.split(b",")]) > 1
    ),
    "h11 takes lengths of 19 and 20 digits": lambda head: any(
        len(value) > 18 for value in values(head, b"content-length")
    ),
    "h11 lets a coding beat a length": lambda head: (
        bool(values(head, b"content-length")) and bool(values(head, b"transfer-encoding"))
    ),
    "h11 takes a coding in HTTP/1.0": lambda head: (
        bool(values(head, b"transfer-encoding")) and b"HTTP/1.0" in head.partition(b"\r\n")[0]
    ),
    "h11 leaves Expect to the application": lambda head: any(
        value.lower() != b"100-continue" for value in values(head, b"expect")
    ),
    "h11 knows nothing of x-blueprint": lambda head: len(set(values(head, b"x-blueprint-[^:]*"))) > 1,
    "h11 asks only HTTP/1.1 for its Host": lambda head: not values(head, b"host"),
}
"""Where h11 accepts what is refused here, each for its reason."""


@settings(max_examples=500, deadline=None)
@given(heads(STARTS, [b"Host: a"]))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \x85\xa0\r\n\r\n")
def test_a_request_is_read_as_h11_reads_it(head: bytes) -> None:
    theirs = by_h11(h11.Connection(h11.SERVER), head)
    try:
        ours = parse_request(head)
    except MalformedMessage:
        assert theirs is None or any(holds(head) for holds in DIFFERENCES.values())
        return
    assert isinstance(theirs, h11.Request)
    assert (ours.method.encode(), ours.target) == (theirs.method, theirs.target)
    assert (ours.length, ours.chunked) == framing(theirs)
    assert ours.fields == end_to_end(theirs, {b"host", b"expect"})


@settings(max_examples=500, deadline=None)
@given(heads(STATUS_LINES, []))
@example(b"HTTP/1.1 200\r\n\r\n")
def test_a_reply_is_read_as_h11_reads_it(head: bytes) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    theirs = by_h11(client, head)
    try:
        ours = parse_reply(head)
    except MalformedMessage:
        assert theirs is None or any(holds(head) for holds in DIFFERENCES.values())
        return
    assert isinstance(theirs, (h11.Response, h11.InformationalResponse))
    assert (ours.status, ours.reason) == (theirs.status_code, theirs.reason)
    assert (ours.length, ours.chunked) == framing(theirs)
    assert ours.fields == end_to_end(theirs, {b"x-request-id"})
