"""Heads: the request line or status line, and the fields, up to the empty line.

The whole head is checked by one possessive pattern (no back-tracking, so a hostile head costs linear time) and then split.
Field names and values keep their bytes; white space around a value is not part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blueprint_proxy.http1.fields import Field, classify

if TYPE_CHECKING:
    from blueprint_proxy.calls import Headers

MAX_HEAD = 64 * 1024
"""Bytes of one head. nginx takes 32 KiB, Envoy 60 KiB, node 16 KiB; signed URLs and long tokens fit with room."""
MAX_TARGET = 16 * 1024
"""Bytes of one request target. nginx takes 8 KiB; upload session URLs grow past 4 KiB."""
MAX_FIELDS = 200

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
_FIELD_LINES = re.compile(rb"(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+")
_SPLIT = re.compile(rb"([^:\r\n]++):[ \t]*+([^\r\n]*+)\r\n")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-\"$-~]++) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + _TEXT + rb"))?\r\n")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._~!$&'()*+,;=%\-]++)(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,18}")


_KEPT_IN_REPLIES = frozenset({Field.NOTED, Field.VIA, Field.HOST, Field.EXPECT})


class MalformedMessage(Exception):
    """What came is not HTTP/1.1 as RFC 9112 writes it, or is over a limit. `status` is what a server answers."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """A request's head. `fields` are what goes on: end-to-end fields only, in their order, without Host.

    `own` holds the x-blueprint-* fields and `noted` those that are read here and pass on too, both by lower-case name;
    of several lines of one name the first is kept in `noted`, and all values in `own` are for the caller to judge.
    `length` is None without a Content-Length.
    """

    method: str
    target: bytes
    minor: int
    fields: Headers
    host: bytes | None = None
    length: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    upgrade: bool = False
    expect_continue: bool = False
    via: list[bytes] = field(default_factory=list)
    own: dict[bytes, bytes] = field(default_factory=dict)
    noted: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)


@dataclass(slots=True)
class ReplyHead:
    """A reply's head. `fields` are end-to-end fields with Content-Length where there was one."""

    status: int
    reason: bytes
    minor: int
    fields: Headers
    length: int | None = None
    chunked: bool = False
    keep_alive: bool = True


def check_partial(buffer: bytes | bytearray) -> None:
    """Refuses what no further byte can mend in a request head that has not ended yet, so that nobody waits for it."""
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise MalformedMessage("a line of the head ends in a bare LF")
    line_end = buffer.find(b"\r\n")
    if line_end < 0 and len(buffer) > MAX_TARGET + 32:
        raise MalformedMessage(f"the request target is longer than {MAX_TARGET} bytes", 414)
    if len(buffer) > MAX_HEAD:
        raise MalformedMessage(f"the request head is larger than {MAX_HEAD} bytes", 431)


def parse_request(head: bytes) -> RequestHead:
    """A whole request head (with its final empty line), or MalformedMessage with the status to answer."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _bad_request_line(head)
    method, target, major, minor_digit = line.groups()
    if len(head) > MAX_HEAD:
        raise MalformedMessage(f"the request head is larger than {MAX_HEAD} bytes", 431)
    if major != b"1":
        raise MalformedMessage("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if len(target) > MAX_TARGET:
        raise MalformedMessage(f"the request target is longer than {MAX_TARGET} bytes", 414)
    minor = 0 if minor_digit == b"0" else 1
    lines = _field_lines(head, line.end())
    kept: Headers = []
    request = RequestHead(method.decode("ascii"), target, minor, kept, keep_alive=minor == 1)
    connection: list[bytes] | None = None
    for pair in lines:
        name, value = pair
        kind = classify(name)
        if not kind:
            kept.append((name, value.rstrip(b" \t")))
            continue
        value = value.rstrip(b" \t")
        if kind is Field.HOST:
            if request.host is not None:
                raise MalformedMessage("two Host fields")
            if _HOST.fullmatch(value) is None:
                raise MalformedMessage("the Host field is not a host and port")
            request.host = value
        elif kind is Field.CONTENT_LENGTH:
            if request.length is not None:
                raise MalformedMessage("two Content-Length fields")
            request.length = _length(value)
            kept.append((name, value))
        elif kind is Field.CONNECTION:
            connection = [*(connection or ()), *_tokens(value)]
        elif kind is Field.NOTED or kind is Field.REQUEST_ID:
            request.noted.setdefault(name.lower(), value)
            kept.append((name, value))
        elif kind is Field.OWN:
            if request.own.setdefault(name.lower(), value) != value:
                raise MalformedMessage(f"two different {name.decode('ascii')} fields")
        else:
            _rare_request_field(request, kind, name, value)
    if request.host is None and minor:
        raise MalformedMessage("no Host field")
    if request.chunked and request.length is not None:
        raise MalformedMessage("both Content-Length and Transfer-Encoding")
    if request.chunked and not minor:
        raise MalformedMessage("Transfer-Encoding in an HTTP/1.0 request")
    if connection is not None:
        request.keep_alive = _persists(minor, connection)
        request.fields = _without(kept, connection)
    return request


def parse_reply(head: bytes) -> ReplyHead:
    """A whole reply head (with its final empty line), or MalformedMessage saying what is wrong with its framing."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise MalformedMessage("the reply does not begin with an HTTP/1.x status line")
    minor_digit, status, reason = line.groups()
    minor = 0 if minor_digit == b"0" else 1
    kept: Headers = []
    reply = ReplyHead(int(status), reason or b"", minor, kept, keep_alive=minor == 1)
    connection: list[bytes] | None = None
    encoded = False
    for name, value in _field_lines(head, line.end()):
        kind = classify(name)
        if not kind or kind in _KEPT_IN_REPLIES:
            kept.append((name, value.rstrip(b" \t")))
        elif kind is Field.CONTENT_LENGTH:
            if reply.length is not None:
                raise MalformedMessage("two Content-Length fields in the reply")
            reply.length = _length(value.rstrip(b" \t"))
            kept.append((name, value.rstrip(b" \t")))
        elif kind is Field.TRANSFER_ENCODING:
            if encoded or value.strip(b" \t").lower() != b"chunked" or not minor:
                raise MalformedMessage("a Transfer-Encoding other than one 'chunked' in the reply")
            encoded = reply.chunked = True
        elif kind is Field.CONNECTION:
            connection = [*(connection or ()), *_tokens(value)]
    if reply.chunked and reply.length is not None:
        raise MalformedMessage("both Content-Length and Transfer-Encoding in the reply")
    if connection is not None:
        reply.keep_alive = _persists(minor, connection)
        reply.fields = _without(kept, connection)
    return reply


def parse_trailers(lines: bytes) -> Headers:
    """Trailer field lines without the final empty line."""
    return [(name, value.rstrip(b" \t")) for name, value in _field_lines(lines + b"\r\n", 0)]


def _field_lines(head: bytes, start: int) -> Headers:
    checked = _FIELD_LINES.match(head, start)
    if checked is None or checked.end() != len(head) - 2:
        at = checked.end() if checked else start
        number = head.count(b"\r\n", start, at) + 1
        raise MalformedMessage(f"field line {number} of the head is malformed")
    lines = _SPLIT.findall(head, start)
    if len(lines) > MAX_FIELDS:
        raise MalformedMessage(f"more than {MAX_FIELDS} fields", 431)
    return lines


def _bad_request_line(head: bytes) -> MalformedMessage:
    line = head.partition(b"\r\n")[0]
    if len(line) > MAX_TARGET:
        return MalformedMessage(f"the request target is longer than {MAX_TARGET} bytes", 414)
    return MalformedMessage("the request line is not 'METHOD target HTTP/1.1'")


def _rare_request_field(request: RequestHead, kind: Field, name: bytes, value: bytes) -> None:
    if kind is Field.TRANSFER_ENCODING:
        if request.chunked or value.lower() != b"chunked":
            raise MalformedMessage("a Transfer-Encoding other than one 'chunked'")
        request.chunked = True
    elif kind is Field.UPGRADE:
        request.upgrade = True
    elif kind is Field.EXPECT:
        if value.lower() != b"100-continue":
            raise MalformedMessage("an Expect other than 100-continue", 417)
        request.expect_continue = True
    elif kind is Field.VIA:
        request.via.append(value)
        request.fields.append((name, value))


def _length(value: bytes) -> int:
    if _LENGTH.fullmatch(value) is None:
        raise MalformedMessage("Content-Length is not a number of bytes")
    return int(value)


def _tokens(value: bytes) -> list[bytes]:
    return [token for raw in value.split(b",") if (token := raw.strip(b" \t").lower())]


def _persists(minor: int, connection: list[bytes]) -> bool:
    if b"close" in connection:
        return False
    return minor == 1 or b"keep-alive" in connection


def _without(fields: Headers, named: list[bytes]) -> Headers:
    """The fields that a Connection field did not name. Content-Length frames the message and cannot be named away."""
    gone = set(named) - {b"close", b"keep-alive", b"content-length"}
    return [pair for pair in fields if pair[0].lower() not in gone] if gone else fields
