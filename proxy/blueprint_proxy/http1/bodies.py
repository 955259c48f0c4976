"""Bodies: where one ends, by length, by chunks, or by the end of the connection.

A reader takes the bytes as they came and gives back the body's own, unchanged and uncopied where it can. `done` says
that the body has ended; `rest` then holds what came after it.
"""

from __future__ import annotations

import re

from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.http1.heads import MalformedMessage, parse_trailers

MAX_CHUNK_LINE = 1024
"""Bytes of a chunk's size line with its extensions, which are read and dropped (RFC 9112 §7.1.1)."""
MAX_EXTENSIONS = 16 * 1024
"""Bytes of size lines beyond their digits that one body may spend, so that extensions cannot outweigh the data."""
MAX_TRAILERS = 16 * 1024
WHOLE = 64 * 1024
"""A chunk up to this size is written with its framing in one piece; a larger one is not copied."""

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*+;[^\x00-\x08\x0a-\x1f\x7f]*+)?)\r\n")


class LengthReader:
    """A body of `length` bytes."""

    __slots__ = ("done", "left", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.rest = b""
        self.trailers = Fields()

    def feed(self, data: bytes) -> list[bytes]:
        size = len(data)
        if size < self.left:
            self.left -= size
            return [data]
        self.done = True
        if size > self.left:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left = 0
        return [data] if data else []


class UntilCloseReader:
    """A body that the end of the connection ends. `done` is for the connection to set."""

    __slots__ = ("done", "rest", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers = Fields()

    def feed(self, data: bytes) -> list[bytes]:
        return [data]


class ChunkedReader:
    """A chunked body. Its chunks are given back as they come, a chunk larger than a read in pieces.

    `named` are the fields that the head's Connection named: they pass as trailers no more than as fields.
    """

    __slots__ = ("_buffer", "_crlf_due", "_extensions", "_in_trailers", "_left", "_named", "done", "rest", "trailers")

    def __init__(self, named: frozenset[bytes] = frozenset()) -> None:
        self._named = named
        self._buffer = b""
        self._left = 0
        self._crlf_due = False
        self._in_trailers = False
        self._extensions = 0
        self.done = False
        self.rest = b""
        self.trailers = Fields()

    def feed(self, data: bytes) -> list[bytes]:  # noqa: C901 -- the loop of every chunk: a call a state costs more
        """The body bytes in `data`, or MalformedMessage. An empty list may mean that a size line is incomplete."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left] if at or end > self._left else data
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                self._crlf_due = not self._left
            elif self._crlf_due:
                if end - at < 2:
                    if data[at] != 13:
                        raise MalformedMessage("a chunk is longer than its size says")
                    break
                if data[at : at + 2] != b"\r\n":
                    raise MalformedMessage("a chunk is longer than its size says")
                self._crlf_due = False
                at += 2
            elif self._in_trailers:
                at = self._trailers(data, at)
                break
            else:
                line = _CHUNK_LINE.match(data, at)
                if line is None:
                    _check_partial_line(data, at)
                    break
                self._extensions += len(line[2])
                if self._extensions > MAX_EXTENSIONS or line.end() - at > MAX_CHUNK_LINE:
                    raise MalformedMessage("the chunk extensions are too long")
                self._left = int(line[1], 16)
                self._in_trailers = not self._left
                at = line.end()
        if self.done:
            self.rest = data[at:]
        elif at < end:
            self._buffer = data[at:]
        return pieces

    def _trailers(self, data: bytes, at: int) -> int:
        """Reads the trailer section at `at` if it is whole; returns where to go on."""
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if len(data) - at > MAX_TRAILERS + 3:  # the last three may be most of the empty line that ends them
                raise MalformedMessage("the trailers are too long")
            if data.count(b"\n", at) != data.count(b"\r\n", at):
                raise MalformedMessage("a trailer line ends in a bare LF")
            return at
        if end - at > MAX_TRAILERS:
            raise MalformedMessage("the trailers are too long")
        self.trailers = parse_trailers(data[at : end + 2]).trailing(self._named)
        self.done = True
        return end + 4


Reader = LengthReader | ChunkedReader | UntilCloseReader

_PARTIAL_LINE = re.compile(rb"[0-9A-Fa-f]{0,15}(?:[ \t]*+(?:;[^\x00-\x08\x0a-\x1f\x7f]*+)?)?\r?")


def _check_partial_line(data: bytes, at: int) -> None:
    """A size line that has not ended may go on; one that cannot become right is refused now."""
    if len(data) - at > MAX_CHUNK_LINE or _PARTIAL_LINE.fullmatch(data, at) is None:
        raise MalformedMessage("a chunk does not begin with its size in hexadecimal and CRLF")


def chunk(data: bytes) -> bytes:
    """One chunk on the wire. `data` must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunk_pieces(data: bytes) -> list[bytes]:
    """One chunk on the wire in as many pieces as save a copy: one up to WHOLE bytes, data and framing apart beyond."""
    return [chunk(data)] if len(data) <= WHOLE else [b"%x\r\n" % len(data), data, b"\r\n"]


def last_chunk(trailers: Fields) -> bytes:
    """The end of a chunked body with its trailer fields."""
    return b"0\r\n%b\r\n" % trailers.raw
