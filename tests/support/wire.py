"""HTTP/1.1 on the wire, for tests: messages made byte by byte, and read back by a strict little parser of their own.

Nothing here is shared with the proxy, so that a mistake there cannot hide itself.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]

PATIENCE = 10.0
"""Seconds without a byte after which a read fails: on loopback, an answer that takes longer is a hang."""

_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([^\x00-\x08\x0a-\x1f\x7f]*)")
_REQUEST = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^ ]+) HTTP/1\.([01])")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[^\r\n]*)?")


class CutShortError(Exception):
    """The peer closed cleanly before the message was whole. `partial` is what of it had come."""

    def __init__(self, what: str, partial: bytes) -> None:
        super().__init__(f"{what} was cut short after {len(partial)} bytes: {partial[-80:]!r}")
        self.partial = partial


class NotHttpError(AssertionError):
    """The bytes are not a message as RFC 9112 writes it."""


@dataclass
class Message:
    """A request or a reply as it was read. `framing` is none, length, chunked or close."""

    start_line: bytes
    fields: Fields
    head: bytes
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    framing: str = "none"

    def values(self, name: str) -> list[bytes]:
        """Every value of the field, in order; names compare without case."""
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def value(self, name: str) -> bytes | None:
        """The field's only value; two lines of it are an error."""
        values = self.values(name)
        assert len(values) <= 1, f"{len(values)} lines of {name}"
        return values[0] if values else None

    @property
    def names(self) -> list[bytes]:
        return [key for key, _ in self.fields]


@dataclass
class Request(Message):
    """A request; `complete` once its body has ended. `arrived` is time.monotonic() of the whole head."""

    method: str = ""
    target: bytes = b""
    minor: int = 1
    arrived: float = 0.0
    connection: int = 0
    complete: bool = False


@dataclass
class Reply(Message):
    """A reply with the 1xx heads that came before it."""

    status: int = 0
    reason: bytes = b""
    minor: int = 1
    interim: list[Message] = field(default_factory=list)

    @property
    def error(self) -> str | None:
        value = self.value("x-blueprint-error")
        return None if value is None else value.decode()

    @property
    def attempts(self) -> int:
        value = self.value("x-blueprint-attempts")
        assert value is not None, "no x-blueprint-attempts"
        return int(value)


class Wire:
    """A socket with a buffer: reads that end at a mark or a count, a record of what came, and every way to end it."""

    RECORDED = 1 << 20

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.received = bytearray()
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        if len(self.received) < self.RECORDED:
            self.received += data
        self._buffer += data
        return bool(data)

    def until(self, mark: bytes, what: str) -> bytes:
        """Bytes up to and with `mark`."""
        while (at := self._buffer.find(mark)) < 0:
            if not self._more():
                raise CutShortError(what, self._buffer)
        at += len(mark)
        data, self._buffer = self._buffer[:at], self._buffer[at:]
        return data

    def exactly(self, count: int, what: str) -> bytes:
        parts = [self._buffer[:count]]
        self._buffer = self._buffer[count:]
        missing = count - len(parts[0])
        while missing:
            data = self.sock.recv(min(missing, 1 << 20))
            if len(self.received) < self.RECORDED:
                self.received += data
            if not data:
                raise CutShortError(what, b"".join(parts))
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def to_end(self) -> bytes:
        """Everything until the peer's FIN. A reset raises ConnectionResetError."""
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def wait_closed(self, limit: float = PATIENCE) -> str:
        """How the peer ended the connection: "fin" or "rst". Bytes that still come are recorded and dropped."""
        self.sock.settimeout(limit)
        try:
            self.to_end()
        except (ConnectionResetError, BrokenPipeError):
            return "rst"
        return "fin"

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # Messages

    def read_fields(self, head: bytes) -> Fields:
        lines = head.split(b"\r\n")[1:-2]
        fields: Fields = []
        for line in lines:
            match = _FIELD.fullmatch(line)
            if match is None:
                raise NotHttpError(f"not a field line: {line!r}")
            fields.append((match[1], match[2]))
        return fields

    def read_request_head(self) -> Request:
        head = self.until(b"\r\n\r\n", "a request head")
        line = head.split(b"\r\n", 1)[0]
        match = _REQUEST.fullmatch(line)
        if match is None:
            raise NotHttpError(f"not a request line: {line!r}")
        request = Request(line, self.read_fields(head), head)
        request.method, request.target, request.minor = match[1].decode(), match[2], int(match[3])
        return request

    def read_request_body(self, request: Request) -> None:
        self._frame(request)
        if request.framing == "close":
            request.framing = "none"
        self._body(request)
        request.complete = True

    def read_reply(self, method: str = "GET") -> Reply:
        """One final reply, with the interim ones before it. CutShortError when it ends before its framing says so."""
        interim: list[Message] = []
        while True:
            head = self.until(b"\r\n\r\n", "a reply head")
            line = head.split(b"\r\n", 1)[0]
            match = _STATUS.fullmatch(line)
            if match is None:
                raise NotHttpError(f"not a status line: {line!r}")
            reply = Reply(line, self.read_fields(head), head)
            reply.minor, reply.status, reply.reason = int(match[1]), int(match[2]), match[3]
            reply.interim = interim
            if reply.status >= 200 or reply.status == 101:
                break
            interim.append(reply)
        self._frame(reply)
        if method == "HEAD" or reply.status in {204, 304}:
            assert reply.status != 204 or reply.framing == "close", "a 204 with framing"
            reply.framing = "none"
        self._body(reply)
        return reply

    def read_chunk(self) -> bytes:
        """One chunk of a chunked body; b"" is the last one, whose trailers are still to read."""
        line = self.until(b"\r\n", "a chunk size")[:-2]
        match = _SIZE.fullmatch(line)
        if match is None:
            raise NotHttpError(f"not a chunk size: {line!r}")
        size = int(match[1], 16)
        if not size:
            return b""
        data = self.exactly(size, "a chunk")
        if self.exactly(2, "the end of a chunk") != b"\r\n":
            raise NotHttpError("a chunk does not end in CRLF")
        return data

    def read_trailers(self) -> Fields:
        lines = b""
        while not lines.endswith(b"\r\n\r\n") and lines != b"\r\n":
            lines += self.until(b"\r\n", "the trailers")
        return self.read_fields(b"\r\n" + lines) if lines != b"\r\n" else []

    def _frame(self, message: Message) -> None:
        lengths = message.values("content-length")
        codings = message.values("transfer-encoding")
        assert len(lengths) + len(codings) <= 1, f"ambiguous framing: {lengths} {codings}"
        if codings:
            assert codings == [b"chunked"], f"odd coding {codings}"
            message.framing = "chunked"
        elif lengths:
            assert lengths[0].isdigit(), f"odd length {lengths}"
            message.framing = "length"
        else:
            message.framing = "close"

    def _body(self, message: Message) -> None:
        if message.framing == "length":
            message.body = self.exactly(int(message.values("content-length")[0]), "the body")
        elif message.framing == "chunked":
            parts: list[bytes] = []
            try:
                while data := self.read_chunk():
                    parts.append(data)
                message.trailers = self.read_trailers()
            except CutShortError as cut:
                raise CutShortError("the chunked body", b"".join(parts) + cut.partial) from cut
            message.body = b"".join(parts)
        elif message.framing == "close":
            message.body = self.to_end()


def lines(fields: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields)


def request(
    method: str,
    target: str,
    *fields: tuple[str, str],
    body: bytes | None = None,
    host: str = "proxy.test",
    minor: int = 1,
) -> bytes:
    """A request with Host, and Content-Length when there is a body."""
    framing = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    start = f"{method} {target} HTTP/1.{minor}\r\nHost: {host}\r\n".encode("latin-1")
    return start + lines(fields) + framing + b"\r\n" + (body or b"")


def reply(status: int = 200, body: bytes = b"", *fields: tuple[str, str], reason: str = "Because") -> bytes:
    """A reply with Content-Length."""
    start = f"HTTP/1.1 {status} {reason}\r\n".encode("latin-1")
    return start + lines(fields) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes, trailers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A whole chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks) + b"0\r\n" + lines(trailers) + b"\r\n"


def chunked_head(status: int = 200, *fields: tuple[str, str]) -> bytes:
    return f"HTTP/1.1 {status} Because\r\n".encode() + lines(fields) + b"Transfer-Encoding: chunked\r\n\r\n"
