"""Bodies: where one ends, however its bytes are cut, and h11 as a second opinion on chunks."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blueprint_proxy.http1.bodies import (
    MAX_CHUNK_LINE,
    MAX_EXTENSIONS,
    MAX_TRAILERS,
    ChunkedReader,
    LengthReader,
    UntilCloseReader,
    chunk,
    last_chunk,
)
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.http1.heads import MalformedMessage

Outcome = tuple[bytes, list[tuple[bytes, bytes]], bytes, bool]


def read(stream: bytes, *cuts: int) -> Outcome:
    """Body, trailers, rest and whether it ended, with the stream cut at `cuts`."""
    reader = ChunkedReader()
    body = rest = b""
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(stream)}), len(stream)]
    at = 0
    for end in ends:
        if reader.done:
            rest += stream[at:end]
        else:
            body += b"".join(reader.feed(stream[at:end]))
        at = end
    return body, list(reader.trailers), reader.rest + rest, reader.done


def is_refused(stream: bytes, *cuts: int) -> bool:
    try:
        read(stream, *cuts)
    except MalformedMessage:
        return True
    return False


def byte_by_byte(stream: bytes) -> range:
    return range(1, len(stream))


# lengths


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=5), st.lists(st.integers(0, 50), max_size=5))
def test_a_length_ends_the_body_however_it_is_cut(body: bytes, rest: bytes, cuts: list[int]) -> None:
    reader = LengthReader(len(body))
    stream, at, got = body + rest, 0, b""
    for cut in [*sorted(cuts), len(stream)]:
        if not reader.done:
            pieces = reader.feed(stream[at:cut])
            got += b"".join(pieces)
            at = max(at, cut)
    assert reader.done
    assert (got, reader.rest + stream[at:]) == (body, rest)


def test_a_body_of_no_bytes_is_over_before_it_begins() -> None:
    reader = LengthReader(0)
    assert reader.done
    assert reader.feed(b"next") == []
    assert reader.rest == b"next"


def test_a_body_that_fits_is_given_on_uncopied() -> None:
    data = b"x" * 1000
    assert LengthReader(1000).feed(data)[0] is data
    assert LengthReader(2000).feed(data)[0] is data


def test_a_body_until_the_end_of_the_connection_never_ends_by_itself() -> None:
    reader = UntilCloseReader()
    data = b"0\r\n\r\n"
    assert reader.feed(data)[0] is data
    assert not reader.done


# chunks that are right

RIGHT: dict[str, tuple[bytes, bytes]] = {
    "no chunk but the last": (b"0\r\n\r\n", b""),
    "one chunk": (b"5\r\n12345\r\n0\r\n\r\n", b"12345"),
    "two chunks": (b"2\r\n12\r\n3\r\n345\r\n0\r\n\r\n", b"12345"),
    "a size in lower case": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "a size in upper case": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "leading zeros": (b"000000000000005\r\n12345\r\n000\r\n\r\n", b"12345"),
    "an extension": (b"5;a\r\n12345\r\n0;b=c\r\n\r\n", b"12345"),
    "a quoted extension": (b'5;a="b;c\\", \xe4\t"\r\n12345\r\n0\r\n\r\n', b"12345"),
    "white space before an extension": (b"5 \t;a\r\n12345\r\n0\r\n\r\n", b"12345"),
    "an empty extension": (b"5;\r\n12345\r\n0\r\n\r\n", b"12345"),
    "data that looks like framing": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize(("stream", "body"), RIGHT.values(), ids=RIGHT.keys())
def test_right_chunks_are_read(stream: bytes, body: bytes) -> None:
    assert read(stream + b"rest") == (body, [], b"rest", True)


@pytest.mark.parametrize(("stream", "body"), RIGHT.values(), ids=RIGHT.keys())
def test_right_chunks_are_read_byte_by_byte(stream: bytes, body: bytes) -> None:
    assert read(stream + b"rest", *byte_by_byte(stream + b"rest")) == (body, [], b"rest", True)


@pytest.mark.parametrize(("stream", "body"), RIGHT.values(), ids=RIGHT.keys())
def test_a_stream_that_is_cut_off_has_not_ended(stream: bytes, body: bytes) -> None:
    for end in range(len(stream)):
        got, _, rest, done = read(stream[:end])
        assert not done
        assert rest == b""
        assert body.startswith(got)


def test_trailers_pass_in_order_with_case_and_bytes() -> None:
    reader = ChunkedReader()
    reader.feed(b"0\r\nX-B:1 \r\nx-a: \xe4\r\nX-B:\r\n\r\nrest")
    assert reader.trailers.raw == b"X-B:1 \r\nx-a: \xe4\r\nX-B:\r\n"
    assert reader.rest == b"rest"


def test_trailers_that_must_not_follow_a_body_are_dropped() -> None:
    reader = ChunkedReader(frozenset({b"x-named"}))
    reader.feed(
        b"0\r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\nX-Blueprint-Run: a\r\n"
        b"X-Named: b\r\nHost: c\r\nX-A: 1\r\n\r\n"
    )
    assert reader.trailers.raw == b"X-A: 1\r\n"


def test_a_chunk_larger_than_a_read_is_given_on_in_pieces() -> None:
    reader = ChunkedReader()
    assert reader.feed(b"a\r\n01234") == [b"01234"]
    data = b"567"
    assert reader.feed(data)[0] is data
    assert reader.feed(b"89\r\n0\r\n\r\n") == [b"89"]
    assert reader.done


def test_what_is_written_is_what_is_read() -> None:
    stream = chunk(b"0123456789abcdef") + chunk(b"x") + last_chunk(Fields.of([(b"X-A", b"1")]))
    assert stream == b"10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\nX-A: 1\r\n\r\n"
    assert read(stream) == (b"0123456789abcdefx", [(b"X-A", b"1")], b"", True)


# chunks that are wrong

WRONG: dict[str, bytes] = {
    "hexadecimal junk": b"5g\r\n12345\r\n",
    "a size with 0x": b"0x5\r\n12345\r\n",
    "a size with a plus": b"+5\r\n12345\r\n",
    "a size with a minus": b"-5\r\n12345\r\n",
    "a size with an underscore": b"1_0\r\n1234567890123456\r\n",
    "a size of other scripts' digits": b"\xd9\xa5\r\n12345\r\n",
    "no size": b"\r\n12345\r\n",
    "no size but an extension": b";a\r\n12345\r\n",
    "a space before the size": b" 5\r\n12345\r\n",
    "a space after the size": b"5 \r\n12345\r\n",
    "a size of sixteen digits": b"0000000000000005\r\n12345\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\n12345\r\n",
    "a bare LF after the size": b"5\n12345\r\n",
    "a bare CR after the size": b"5\r12345\r\n",
    "two CRs after the size": b"5\r\r\n12345\r\n",
    "a bare LF after the data": b"5\r\n12345\n0",
    "a bare CR after the data": b"5\r\n12345\r0",
    "data longer than its size": b"5\r\n123456\r\n",
    "data shorter than its size": b"5\r\n1234\r\n0\r\n\r\n",
    "a comma for a semicolon": b"5,a\r\n12345\r\n",
    "a bare LF in an extension": b"5;a\nb\r\n12345\r\n",
    "a bare CR in an extension": b"5;a\rb\r\n12345\r\n",
    "a NUL in an extension": b"5;a\x00b\r\n12345\r\n",
    "a DEL in an extension": b"5;a\x7f\r\n12345\r\n",
    "a bare LF after the last chunk": b"0\n\n",
    "a bare LF as the end": b"0\r\n\n",
    "a folded trailer": b"0\r\nX-A: 1\r\n 2\r\n\r\n",
    "a bare LF in the trailers": b"0\r\nX-A: 1\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX-A : 1\r\n\r\n",
    "a trailer with a NUL": b"0\r\nX-A: \x00\r\n\r\n",
    "a trailer without a colon": b"0\r\nX-A\r\n\r\n",
    "a size line that is too long": b"5;" + b"a" * MAX_CHUNK_LINE + b"\r\n12345\r\n",
    "an endless size line": b"5;" + b"a" * MAX_CHUNK_LINE,
    "trailers that are too long": b"0\r\nX-A: " + b"a" * MAX_TRAILERS + b"\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X-A: aaaaaaa\r\n" * (MAX_TRAILERS // 10),
    "too many trailers": b"0\r\n" + b"a:\r\n" * 201 + b"\r\n",
    "extensions that outweigh the data": (b"1;" + b"a" * 999 + b"\r\nx\r\n") * (MAX_EXTENSIONS // 1000 + 1),
}


@pytest.mark.parametrize("stream", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(stream)


@pytest.mark.parametrize("stream", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_stream_is_refused_byte_by_byte(stream: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(stream, *byte_by_byte(stream))


@pytest.mark.parametrize(
    "begun", [b"g", b"5\n", b"5\r1", b"5x", b"5;a\n", b"5 5", b"1\r\nxy", b"1\r\nx\n", b"0\r\nX:\n"]
)
def test_what_cannot_become_right_is_refused_at_once(begun: bytes) -> None:
    assert is_refused(begun)


def trailers_of(size: int) -> bytes:
    """A stream whose trailer lines, but for the CRLF of the last, have `size` bytes."""
    return b"0\r\nX-A: " + b"a" * (size - 5) + b"\r\n\r\n"


@pytest.mark.parametrize("behind", range(1, 6))
@pytest.mark.parametrize(("size", "refused"), [(MAX_TRAILERS, False), (MAX_TRAILERS + 1, True)])
def test_the_limit_of_trailers_is_the_same_wherever_they_are_cut(behind: int, size: int, refused: bool) -> None:
    stream = trailers_of(size)
    assert is_refused(stream, len(stream) - behind) is refused


@pytest.mark.parametrize("behind", range(1, 6))
@pytest.mark.parametrize(("size", "refused"), [(MAX_CHUNK_LINE, False), (MAX_CHUNK_LINE + 1, True)])
def test_the_limit_of_a_size_line_is_the_same_wherever_it_is_cut(behind: int, size: int, refused: bool) -> None:
    stream = b"5;" + b"a" * (size - 4) + b"\r\n"
    assert is_refused(stream + b"12345", len(stream) - behind) is refused


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "stream", [b"5" + b" " * 64_000, b"5;" + b" \t" * 32_000, b"0\r\n" + b"a" * 64_000, b"f" * 64_000]
)
def test_a_hostile_stream_is_refused_without_work_beyond_its_length(stream: bytes) -> None:
    for _ in range(100):
        assert is_refused(stream)


# any stream

SIZES = st.sampled_from([b"%x", b"%X", b"00%x", b"000%X"])
EXTENSIONS = st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;\xe4"', b";", b" ;a", b"\t ; a = b"])
TRAILERS = st.lists(
    st.sampled_from([b"X-A: 1", b"x-b:", b"X-C:\t\xe4 ", b"X-Blueprint-Run: a", b"Host: a"]), max_size=3
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    parts = [
        draw(SIZES) % len(data) + draw(EXTENSIONS) + b"\r\n" + data + b"\r\n"
        for data in draw(st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.just(b"\r\n0\r\n\r\n")), max_size=4))
    ]
    trailers = b"".join(line + b"\r\n" for line in draw(TRAILERS))
    return (
        b"".join(parts)
        + draw(SIZES) % 0
        + draw(EXTENSIONS)
        + b"\r\n"
        + trailers
        + b"\r\n"
        + draw(st.binary(max_size=6))
    )


CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 2),
        st.sampled_from([b"", b"\r\n", *(bytes([b]) for b in b"\x00\t\n\r 0;5afxg:-\x7f\xff")]),
    ),
    min_size=1,
    max_size=2,
)


def damaged(stream: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in changes:
        at = int(where * len(stream))
        stream = stream[:at] + inserted + stream[at + removed :]
    return stream


CUTS = st.lists(st.integers(1, 150), max_size=8)


@given(streams(), CUTS)
def test_a_right_stream_is_the_same_however_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    whole = read(stream)
    assert whole[3]
    assert read(stream, *cuts) == read(stream, *byte_by_byte(stream)) == whole


@settings(max_examples=300)
@given(streams(), CHANGES, CUTS)
def test_a_damaged_stream_is_the_same_however_it_is_cut(
    stream: bytes, changes: list[tuple[float, int, bytes]], cuts: list[int]
) -> None:
    stream = damaged(stream, changes)
    refused = is_refused(stream)
    assert is_refused(stream, *cuts) is refused
    assert is_refused(stream, *byte_by_byte(stream)) is refused
    if not refused:
        assert read(stream, *cuts) == read(stream)


def by_h11(stream: bytes) -> Outcome | None:
    """What h11 reads, or None where it refuses."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.next_event()
    server.receive_data(stream)
    body = b""
    while True:
        try:
            event = server.next_event()
        except h11.RemoteProtocolError:
            return None
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            trailers = Fields.of(event.headers.raw_items()).trailing(frozenset())
            return body, list(trailers), server.trailing_data[0], True
        else:
            return body, [], b"", False


def without_space_before_extensions(stream: bytes) -> bytes:
    """RFC 9112 §7.1.1 lets white space stand there, which h11 does not know."""
    return stream.replace(b"\t ; a = b", b";a=b").replace(b" ;a", b";a")


@settings(max_examples=300)
@given(streams().map(without_space_before_extensions))
def test_a_right_stream_is_read_as_h11_reads_it(stream: bytes) -> None:
    assert read(stream) == by_h11(stream)


@settings(max_examples=500)
@given(streams().map(without_space_before_extensions), CHANGES)
@example(b"5\r\n12345\r\n0\r\n\r\n", [(0.99, 1, b"")])
def test_a_damaged_stream_that_is_read_to_its_end_is_read_so_by_h11(
    stream: bytes, changes: list[tuple[float, int, bytes]]
) -> None:
    stream = without_space_before_extensions(damaged(stream, changes))
    try:
        ours = read(stream)
    except MalformedMessage:
        return
    if ours[3] and b" ;" not in stream and b"\t;" not in stream:
        assert ours == by_h11(stream)
