"""An upstream that does exactly what a test says, byte by byte, and remembers exactly what the proxy sent.

Every connection has a thread of its own that runs a script (`script`), or answers requests in a loop (`serve`,
`answer`, `echo`). What a script raises is kept in `failures`, which the fixture checks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from support.wire import PATIENCE, CutShortError, Request, Wire, reply

if TYPE_CHECKING:
    from pathlib import Path


class UpstreamConnection(Wire):
    """One connection of the proxy, with its place in the order of arrival."""

    def __init__(self, sock: socket.socket, upstream: RawUpstream, number: int) -> None:
        super().__init__(sock)
        self.upstream = upstream
        self.number = number
        self.ended: str | None = None  # "fin" or "rst" once the proxy has ended it

    def read_head(self) -> Request:
        """The next request's head, which is counted now; its body is still to read."""
        request = self.read_request_head()
        request.arrived = time.monotonic()
        request.connection = self.number
        self.upstream.count(request)
        return request

    def read_request(self) -> Request:
        request = self.read_head()
        self.read_request_body(request)
        return request

    def wait_closed(self, limit: float = PATIENCE) -> str:
        ended = super().wait_closed(limit)
        self.upstream.note_end(self, ended)
        return ended

    def wait(self, event: threading.Event) -> None:
        """Goes on when the test says so."""
        assert event.wait(PATIENCE) or self.upstream.stopping, "the test never went on"


Script = Callable[[UpstreamConnection], None]
Handler = Callable[[Request, UpstreamConnection], bytes | None]


class RawUpstream:
    """A listener on loopback, or on `unix`, or on a socket that listens already; with `tls`, behind TLS."""

    def __init__(
        self,
        listener: socket.socket | None = None,
        *,
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if listener is None:
            listener = listen() if unix is None else _listen_unix(unix)
        self._listener = listener
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self.url = f"unix:{unix}" if unix else f"{self._scheme}://127.0.0.1:{listener.getsockname()[1]}"
        self.connections: list[UpstreamConnection] = []
        self.requests: list[Request] = []
        self.failures: list[BaseException] = []
        self.stopping = False
        self._changed = threading.Condition()
        self._scripts: list[Script] = []
        self._handler: Handler | None = None
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="upstream", daemon=True)
        self._acceptor.start()

    # What it does

    def script(self, *scripts: Script) -> None:
        """The n-th connection from now on runs the n-th script; what comes after is served, if anything serves."""
        self._scripts = list(scripts)

    def serve(self, handler: Handler) -> None:
        """Answers every request on every connection with what the handler returns; None: it has sent for itself."""
        self._handler = handler

    def answer(self, *replies: bytes) -> None:
        """Answers the n-th request, on whatever connection, with the n-th reply; the last one stays."""
        left = list(replies)
        lock = threading.Lock()

        def next_reply(_: Request, __: UpstreamConnection) -> bytes:
            with lock:
                return left.pop(0) if len(left) > 1 else left[0]

        self.serve(next_reply)

    def echo(self) -> None:
        """Answers with what it was sent: request line, field lines in order (latin-1), the body's size and SHA-256."""
        self.serve(lambda request, _: reply(200, echo_body(request), ("Content-Type", "application/json")))

    # What it saw

    def count(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def note_end(self, connection: UpstreamConnection, ended: str) -> None:
        with self._changed:
            connection.ended = ended
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool], limit: float = PATIENCE) -> None:
        """Waits until the condition holds; it is asked again after each request, connection and end."""
        with self._changed:
            assert self._changed.wait_for(condition, limit), "what the upstream was to see did not happen"

    def wait_for_requests(self, count: int) -> None:
        self.wait_until(lambda: len(self.requests) >= count)

    @property
    def received(self) -> bytes:
        """Everything that the proxy sent, connection after connection."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    def stop(self) -> None:
        self.stopping = True
        with self._changed:
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._listener.close()
        self._acceptor.join(PATIENCE)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)  # fails where the script or the proxy has closed it
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "an upstream script does not end"
        for connection in self.connections:
            connection.close()

    # How it runs

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._run, args=(sock,), name="upstream connection", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        connection = UpstreamConnection(sock, self, len(self.connections))
        try:
            if self._tls is not None:
                sock.settimeout(PATIENCE)
                connection.sock = sock = self._tls.wrap_socket(sock, server_side=True)
                sock.settimeout(PATIENCE)
            with self._changed:
                connection.number = len(self.connections)
                self.connections.append(connection)
                script = self._scripts.pop(0) if self._scripts else self._serve
                self._changed.notify_all()
            script(connection)
        except (ConnectionResetError, BrokenPipeError):
            self.note_end(connection, "rst")
        except CutShortError:
            self.note_end(connection, "fin")
        except ssl.SSLError:
            pass  # the proxy refused the handshake: the test looks at its answer
        except (AssertionError, OSError, LookupError, ValueError, threading.ThreadError) as failure:
            if not self.stopping:
                self.failures.append(failure)

    def _serve(self, connection: UpstreamConnection) -> None:
        while True:
            request = connection.read_request()
            assert self._handler is not None, f"nobody said what to answer to {request.start_line!r}"
            data = self._handler(request, connection)
            if data is not None:
                connection.send(data)


def say(data: bytes, *, then_close: bool) -> Script:
    """Reads a request, says `data`, half-closes if it is to, and waits for the proxy to end the connection."""

    def script(connection: UpstreamConnection) -> None:
        connection.read_request()
        connection.send(data)
        if then_close:
            connection.half_close()
        connection.wait_closed()

    return script


def close(connection: UpstreamConnection) -> None:
    """Ends the connection with FIN."""
    connection.close()


def reset(connection: UpstreamConnection) -> None:
    """Ends the connection with RST."""
    connection.reset()


class StartUpstream(Protocol):
    """What the fixture `upstream` gives: RawUpstream(unix=, tls=), stopped and checked at the test's end."""

    def __call__(self, *, unix: Path | None = None, tls: ssl.SSLContext | None = None) -> RawUpstream: ...


def echo_body(request: Request) -> bytes:
    return json.dumps(
        {
            "request_line": request.start_line.decode("latin-1"),
            "headers": [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in request.fields],
            "body_length": len(request.body),
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
            "trailers": [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in request.trailers],
        }
    ).encode()


def listen() -> socket.socket:
    """A TCP listener on a free port of loopback."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    return sock


def _listen_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(64)
    return sock
