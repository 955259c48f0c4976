"""Heads: the request line or status line, and the fields, up to the empty line.

The whole head is checked by possessive patterns (no back-tracking, so a hostile head costs linear time). A second
pattern finds the few lines that mean something here; all others pass as they came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from blueprint_proxy.http1.fields import NOTED, OWN, Fields

MAX_HEAD = 64 * 1024
"""Bytes of one head. nginx takes 32 KiB, Envoy 60 KiB, node 16 KiB; signed URLs and long tokens fit with room."""
MAX_TARGET = 16 * 1024
"""Bytes of one request target. nginx takes 8 KiB; upload session URLs grow past 4 KiB."""
MAX_FIELDS = 200

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
_FIELD_LINES = re.compile(rb"(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-\"$-~]++) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + _TEXT + rb"))?\r\n")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._~!$&'()*+,;=%\-]++)(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,18}")

# The first letters are looked at before the names: most lines are passed over after one character.
_READ_IN_REQUESTS = re.compile(
    rb"\r\n(?=[CcEeGgHhIiKkPpTtUuVvXx])((?i:connection|content-length|expect|grpc-timeout|host|http2-settings|"
    rb"idempotency-key|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|te|transfer-encoding|upgrade|via|"
    rb"x-blueprint-[^:]*+|x-goog-api-client|x-request-id|x-server-timeout|traceparent)):[ \t]*+([^\r\n]*+)"
)
_READ_IN_REPLIES = re.compile(
    rb"\r\n(?=[CcHhKkPpTtUuXx])((?i:connection|content-length|http2-settings|keep-alive|proxy-authenticate|"
    rb"proxy-authorization|proxy-connection|te|transfer-encoding|upgrade|x-blueprint-[^:]*+|x-request-id)):"
    rb"[ \t]*+([^\r\n]*+)"
)


class MalformedMessage(Exception):
    """What came is not HTTP/1.1 as RFC 9112 writes it, or is over a limit. `status` is what a server answers."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """A request's head. `fields` are what goes on: end-to-end fields only, with Via and without Host and Expect.

    `own` holds the x-blueprint-* fields and `noted` those that are read here and pass on too, both by lower-case name.
    `named` are the lower-case names that Connection named: gone from `fields`, and not to pass as trailers either.
    `length` is None without a Content-Length. Its repr holds nothing that may be a credential: no target, no value.
    """

    method: str
    target: bytes = field(repr=False)
    minor: int
    fields: Fields
    host: bytes | None = None
    length: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    upgrade: bool = False
    expect_continue: bool = False
    via: tuple[bytes, ...] = ()
    named: frozenset[bytes] = frozenset()
    own: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    noted: dict[bytes, bytes] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class ReplyHead:
    """A reply's head. `fields` are end-to-end fields, with Content-Length where there was one. `named`: as above."""

    status: int
    reason: bytes
    minor: int
    fields: Fields
    length: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    named: frozenset[bytes] = frozenset()


def check_lines_end(buffer: bytes) -> None:
    """Refuses a head, whole or not, that ends a line in a bare LF."""
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise MalformedMessage("a line of the head ends in a bare LF")


def check_partial(buffer: bytes) -> None:
    """Refuses what no further byte can mend in a request head that has not ended yet, so that nobody waits for it."""
    check_lines_end(buffer)
    line = _REQUEST_LINE.match(buffer)
    if line is None:
        if b"\r\n" in buffer or len(buffer) > MAX_TARGET + 32:
            raise _bad_request_line(buffer)
    elif len(line[2]) > MAX_TARGET:
        raise MalformedMessage(f"the request target is longer than {MAX_TARGET} bytes", 414)
    if len(buffer) > MAX_HEAD:
        raise MalformedMessage(f"the request head is larger than {MAX_HEAD} bytes", 431)


def parse_request_line(head: bytes) -> tuple[str, bytes, int, int]:
    """Method, target, minor version, and where the fields begin."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _bad_request_line(head)
    method, target, major, minor_digit = line.groups()
    if len(target) > MAX_TARGET:
        raise MalformedMessage(f"the request target is longer than {MAX_TARGET} bytes", 414)
    if major != b"1":
        raise MalformedMessage("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    return method.decode("ascii"), target, 0 if minor_digit == b"0" else 1, line.end()


def parse_request(head: bytes) -> RequestHead:  # noqa: C901, PLR0912 -- one pass; a function a field costs more
    """A whole request head (with its final empty line), or MalformedMessage with the status to answer."""
    method, target, minor, start = parse_request_line(head)
    _check_lines(head, start)
    request = RequestHead(method, target, minor, Fields(), keep_alive=minor == 1)
    connection: list[bytes] | None = None
    kept: list[bytes] = []
    for read in _READ_IN_REQUESTS.finditer(head, start - 2):
        name, value = read.groups()
        name = name.lower()
        value = value.rstrip(b" \t")
        if name == b"content-length":
            if request.length is not None:
                raise MalformedMessage("two Content-Length fields")
            request.length = _length(value)
            continue
        if name in NOTED:
            known = request.noted.get(name)
            request.noted[name] = value if known is None else known + b", " + value  # RFC 9110 §5.3
            continue
        if name == b"host":
            if request.host is not None:
                raise MalformedMessage("two Host fields")
            if _HOST.fullmatch(value) is None:
                raise MalformedMessage("the Host field is not a host and port")
            request.host = value
        elif name == b"connection":
            connection = [*(connection or ()), *_tokens(value)]
        elif name == b"via":
            request.via += (value,)
            continue
        else:
            _rare_request_field(request, name, value)
        kept.append(head[start : read.start() + 2])
        start = read.end() + 2
    request.fields.raw = b"".join((*kept, head[start:-2])) if kept else head[start:-2]
    if request.host is None and minor:
        raise MalformedMessage("no Host field")
    if request.chunked and request.length is not None:
        raise MalformedMessage("both Content-Length and Transfer-Encoding")
    if request.chunked and not minor:
        raise MalformedMessage("Transfer-Encoding in an HTTP/1.0 request")
    if connection is not None:
        request.keep_alive = _persists(minor, connection)
        request.named = _named(connection)
        if request.named:
            request.fields = request.fields.without(request.named)
            request.noted = {name: value for name, value in request.noted.items() if name not in request.named}
    return request


def parse_reply(head: bytes) -> ReplyHead:
    """A whole reply head (with its final empty line), or MalformedMessage saying what is wrong with its framing."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise MalformedMessage("the reply does not begin with an HTTP/1.x status line")
    minor_digit, status, reason = line.groups()
    minor = 0 if minor_digit == b"0" else 1
    start = line.end()
    _check_lines(head, start)
    reply = ReplyHead(int(status), reason or b"", minor, Fields(), keep_alive=minor == 1)
    connection: list[bytes] | None = None
    kept: list[bytes] = []
    for read in _READ_IN_REPLIES.finditer(head, start - 2):
        name, value = read.groups()
        name = name.lower()
        value = value.rstrip(b" \t")
        if name == b"content-length":
            if reply.length is not None:
                raise MalformedMessage("two Content-Length fields in the reply")
            reply.length = _length(value)
            continue
        if name == b"connection":
            connection = [*(connection or ()), *_tokens(value)]
        elif name == b"transfer-encoding":
            if reply.chunked or value.lower() != b"chunked" or not minor:
                raise MalformedMessage("a Transfer-Encoding other than one 'chunked' in the reply")
            reply.chunked = True
        kept.append(head[start : read.start() + 2])
        start = read.end() + 2
    reply.fields.raw = b"".join((*kept, head[start:-2])) if kept else head[start:-2]
    if reply.chunked and reply.length is not None:
        raise MalformedMessage("both Content-Length and Transfer-Encoding in the reply")
    if connection is not None:
        reply.keep_alive = _persists(minor, connection)
        reply.named = _named(connection)
        if reply.named:
            reply.fields = reply.fields.without(reply.named)
    return reply


def parse_trailers(lines: bytes) -> Fields:
    """Trailer field lines without the final empty line."""
    _check_lines(lines + b"\r\n", 0)
    return Fields(lines)


def _check_lines(head: bytes, start: int) -> None:
    """Every line from `start` is a field line, and the empty line is the head's last."""
    checked = _FIELD_LINES.match(head, start)
    end = checked.end() if checked is not None else start
    if end != len(head) - 2:
        number = head.count(b"\r\n", start, end) + 1
        raise MalformedMessage(f"field line {number} of the head is malformed")
    if len(head) > MAX_HEAD:
        raise MalformedMessage(f"the head is larger than {MAX_HEAD} bytes", 431)
    if len(head) > 4 * MAX_FIELDS and head.count(b"\r\n", start) > MAX_FIELDS + 1:
        raise MalformedMessage(f"more than {MAX_FIELDS} fields", 431)


def _bad_request_line(head: bytes) -> MalformedMessage:
    line = head.partition(b"\r\n")[0]
    if len(line) > MAX_TARGET:
        return MalformedMessage(f"the request target is longer than {MAX_TARGET} bytes", 414)
    return MalformedMessage("the request line is not 'METHOD target HTTP/1.1'")


def _rare_request_field(request: RequestHead, name: bytes, value: bytes) -> None:
    """Fields that do not pass on and that few requests have."""
    if name == b"transfer-encoding":
        if request.chunked or value.lower() != b"chunked":
            raise MalformedMessage("a Transfer-Encoding other than one 'chunked'")
        request.chunked = True
    elif name == b"upgrade":
        request.upgrade = request.minor > 0  # in HTTP/1.0 neither means anything (RFC 9110 §7.8, §10.1.1)
    elif name == b"expect":
        if value.lower() != b"100-continue":
            raise MalformedMessage("an Expect other than 100-continue", 417)
        request.expect_continue = request.minor > 0
    elif name.startswith(OWN) and request.own.setdefault(name, value) != value:
        raise MalformedMessage(f"two different {name.decode('ascii')} fields")


def _length(value: bytes) -> int:
    if _LENGTH.fullmatch(value) is None:
        raise MalformedMessage("Content-Length is not a number of bytes")
    return int(value)


def _tokens(value: bytes) -> list[bytes]:
    value = value.lower()
    if b"," not in value:
        return [value]
    return [token for raw in value.split(b",") if (token := raw.strip(b" \t"))]


def _persists(minor: int, connection: list[bytes]) -> bool:
    if b"close" in connection:
        return False
    return minor == 1 or b"keep-alive" in connection


def _named(connection: list[bytes]) -> frozenset[bytes]:
    """The fields that Connection named. Content-Length frames the message and cannot be named away."""
    if connection in ([b"keep-alive"], [b"close"]):
        return frozenset()
    return frozenset(connection) - {b"close", b"keep-alive", b"content-length"}
