"""HTTP/1.1 over one socket, as little of it as an admin API on the same host needs.

Not http.client: its answer's head goes through the e-mail parser, which costs more than all the rest of an exchange,
and a guarded function pays for two of them (measured: clients/README.md). Strict instead: a head of at most 64 KiB,
a body with a length or in chunks, nothing else. No redirects, no proxies, no cookies.

Reads go through a buffer of bytes and no file object: a buffered file has a lock, which a forked child may find held by
a thread that it does not have.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from blueprint_clients import forking
from blueprint_clients.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 16 * 1024 * 1024
"""No answer of the API comes near it; it bounds what a wrong address can make a job read."""

_PIECE = 64 * 1024


class BadAnswer(Exception):
    """What came is not an answer that this client reads: wrong address, or a sidecar that broke."""


class NothingAnswered(BadAnswer):
    """The connection ended before the first byte of an answer."""


class Address(NamedTuple):
    """Where a sidecar listens: a path, or host and port."""

    host: str
    port: int
    path: str | None = None
    tls: bool = False

    @property
    def authority(self) -> str:
        """What stands in Host: over a unix socket any name does."""
        if self.path is not None:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Answer(NamedTuple):
    """Status, fields by lower-case name (of a repeated one the last) and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def address_of(text: str) -> Address:
    """Read `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`; ConfigurationError for anything else."""
    wanted = "BLUEPRINT_PROXY must be http://HOST:PORT, https://HOST:PORT, unix:/PATH or off"
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise ConfigurationError(f"{wanted}, not {text!r}")
        return Address("", 0, path)
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = 0
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not plain:
        raise ConfigurationError(f"{wanted}, not {text!r}")
    tls = parts.scheme == "https"
    return Address(parts.hostname, port or (443 if tls else 80), tls=tls)


class Connection:
    """One connection, for one exchange at a time. After any exception it is of no further use but to be closed.

    OSError where there is no connection within `patience` seconds.
    """

    def __init__(self, address: Address, patience: float) -> None:
        if address.path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(patience)
                sock.connect(address.path)
            except OSError:
                sock.close()
                raise
        else:
            sock = socket.create_connection((address.host, address.port), patience)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls:
            sock = _behind_tls(sock, address.host)
        self._sock = sock
        self._buffer = b""
        forking.watch(self)

    def exchange(self, request: bytes, patience: float) -> Answer:
        """Send a whole request and read its answer; `patience` is for each wait on the socket, in seconds."""
        self.begin(request, patience)
        return self.answer()

    def answer(self) -> Answer:
        """Read the whole answer to what `begin` has sent."""
        status, headers = self.head()
        try:
            body = b"" if status == 204 else self.body(headers)
        except NothingAnswered as ended:
            raise BadAnswer("the answer was cut short") from ended
        return Answer(status, headers, body)

    def begin(self, request: bytes, patience: float) -> None:
        """Send a whole request."""
        self._sock.settimeout(patience)
        self._sock.sendall(request)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read status and fields of the answer."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise BadAnswer("the answer's head is too large")
            self._more()
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        first, *lines = head.decode("latin-1").split("\r\n")
        if not first.startswith("HTTP/1.1 ") or not first[9:12].isdigit():
            raise BadAnswer("the answer is not HTTP/1.1")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadAnswer("the answer has a field without a colon")
            headers[name.lower()] = value.strip(" \t")
        return int(first[9:12]), headers

    def chunks(self) -> Iterator[bytes]:
        """Give the pieces of a chunked body as they come, to its end."""
        while size := self._chunk_size():
            piece = self._exactly(size + 2)
            if piece[-2:] != b"\r\n":
                raise BadAnswer("a chunk of the answer is not ended")
            yield piece[:-2]
        while self._line():  # trailers say nothing to us
            pass

    def is_sound(self) -> bool:
        """Whether an idle connection is still open and nothing unasked-for has come over it."""
        if self._buffer:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def stirs(self, seconds: float) -> bool:
        """Wait at most this long for anything to come, also the connection's end; whether something has."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def patience(self, seconds: float) -> None:
        """Wait at most this long for each further piece."""
        self._sock.settimeout(seconds)

    def close(self) -> None:
        """End the connection, also under a thread that reads from it."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def after_fork_in_child(self) -> None:
        """Close this process's end alone: the parent goes on with its own."""
        with contextlib.suppress(OSError):
            os.close(self._sock.detach())

    def body(self, headers: dict[str, str]) -> bytes:
        """Read the whole body of an answer with these fields."""
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked":
                raise BadAnswer("the answer has a transfer coding that nobody asked for")
            found = b""
            for piece in self.chunks():
                found += piece
                if len(found) > BODY_LIMIT:
                    raise BadAnswer("the answer is too large")
            return found
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            raise BadAnswer("the answer has no length")
        if int(length) > BODY_LIMIT:
            raise BadAnswer("the answer is too large")
        return self._exactly(int(length))

    def _chunk_size(self) -> int:
        word = self._line().partition(b";")[0].strip()
        try:
            size = int(word, 16) if word.isalnum() else -1
        except ValueError:
            size = -1
        if not 0 <= size <= BODY_LIMIT:
            raise BadAnswer("the answer has a chunk without a size")
        return size

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise BadAnswer("the answer has a line without an end")
            self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _more(self) -> None:
        piece = self._sock.recv(_PIECE)
        if not piece:
            raise BadAnswer("the answer was cut short") if self._buffer else NothingAnswered("nothing was answered")
        self._buffer += piece


def _behind_tls(sock: socket.socket, host: str) -> ssl.SSLSocket:
    try:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
    except OSError:
        sock.close()
        raise
