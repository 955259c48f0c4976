"""The strict GCS on a socket: threads, HTTP/1.1 with keep-alive, the door, and the faults."""

from __future__ import annotations

import http.client
import select
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.strict_gcs.faults import Fault, FaultScript
from support.strict_gcs.model import Refused, Store
from support.strict_gcs.operations import perform
from support.strict_gcs.received import Received
from support.strict_gcs.requests import recognise
from support.strict_gcs.resources import Answer, error_answer
from support.strict_gcs.uploads import chunk_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

STALL_LOOK_S = 0.02
"""How often a stalled request looks whether its caller has left, and a waiting test whether its condition holds."""

NO_BODY = {204, 304}


class StrictGcs:
    """A strict GCS on a free port of 127.0.0.1, as a context manager.

    Any request whose Host is not `authority` gets 421; with `only_through_proxy`, any without a Via field 403; with a
    `token`, any without `Authorization: Bearer TOKEN` 401, but for those on an upload's session address, which is its
    own credential. All of these are kept in `refused` and reach no operation.
    """

    def __init__(self, *, token: str | None = None, only_through_proxy: bool = False) -> None:
        self.token = token
        self.only_through_proxy = only_through_proxy
        self.store = Store()
        self.faults = FaultScript()
        self.requests: list[Received] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="strict-gcs")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.release()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def authority(self) -> str:
        """The only Host it answers to."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return f"http://{self.authority}"

    @property
    def connections(self) -> int:
        """How many connections it has accepted in all."""
        return self._server.accepted

    @property
    def effects(self) -> dict[str, int]:
        """How often each operation really changed something."""
        with self.store.lock:
            return dict(self.store.effects)

    @property
    def refused(self) -> list[Received]:
        """The requests that did not get past the door."""
        return [request for request in list(self.requests) if request.refused is not None]

    def wait_for(self, condition: Callable[[], bool], at_most: float = 10.0) -> bool:
        """Wait until something is true of this server; false when it is not within so many seconds."""
        deadline = time.monotonic() + at_most
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(STALL_LOOK_S)
        return True

    def of(self, operation: str) -> list[Received]:
        """The requests for one operation, in order of arrival."""
        return [request for request in list(self.requests) if request.operation == operation]


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: StrictGcs) -> None:
        self.owner = owner
        self.accepted = 0
        self.to_reset: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        if request in self.to_reset:
            self.to_reset.discard(request)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def close_connections(self) -> None:
        """End every connection, so that its thread ends."""
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the peer was faster


class _FramingError(Exception):
    """A request that cannot be delimited: 400, and the connection ends."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        """Serve until the peer or a fault ends it."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing: `StrictGcs.requests` is the log."""

    def serve(self) -> None:
        """One request, from its head to the last byte of its answer."""
        gcs = self.server.owner
        try:
            body = self._read_body()
        except _FramingError:
            self.close_connection = True
            self._send(None, Answer(400, [("Connection", "close")], b"bad framing\n"))
            return
        target = self.requestline.split(" ")[1]
        received = Received(self.command, target, tuple(self.headers.items()), body)
        request = recognise(received, f"http://{received.header('host')}")
        if request is not None:
            received.operation = request.operation
        gcs.requests.append(received)
        shut = self._door(received)
        if shut is not None:
            received.refused = str(shut)
            self._send(received, error_answer(shut))
            return
        fault = gcs.faults.meet(received)
        if fault is not None:
            received.fault = fault.name
            if fault.stored and request is not None:
                self._keep_part(request.query.get("upload_id", ""), received, fault.stored)
            if not fault.after_effect and fault.action != "cut" and not self._fail(received, fault):
                return
        if request is None:
            answer = error_answer(Refused(404, "notFound", f"No such operation: {received.method} {received.path}"))
        else:
            answer = perform(gcs.store, request)
        if (
            fault is not None
            and (fault.after_effect or fault.action == "cut")
            and not self._fail(received, fault, answer)
        ):
            return
        self._send(received, answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - the base class looks for these names

    def _door(self, received: Received) -> Refused | None:
        gcs = self.server.owner
        if received.header_values("host") != [gcs.authority] or not received.target.startswith("/"):
            return Refused(421, "misdirected", f"This is {gcs.authority} alone.")
        if gcs.only_through_proxy and received.header("via") is None:
            return Refused(403, "forbidden", "This request went around the proxy: it has no Via field.")
        session = "upload_id=" in received.target
        if gcs.token is not None and not session and received.header("authorization") != f"Bearer {gcs.token}":
            return Refused(401, "required", "Invalid Credentials")
        return None

    def _read_body(self) -> bytes:
        lengths = self.headers.get_all("content-length", [])
        coding = self.headers.get("transfer-encoding")
        if coding is None:
            if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
                raise _FramingError
            return self._exactly(int(lengths[0])) if lengths else b""
        if lengths or coding.strip().lower() != "chunked":
            raise _FramingError
        body = bytearray()
        while True:
            size_line = self.rfile.readline(1024).rstrip(b"\r\n").partition(b";")[0]
            try:
                size = int(size_line, 16)
            except ValueError as error:
                raise _FramingError from error
            if size == 0:
                while self.rfile.readline(65536).strip():
                    pass
                return bytes(body)
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise _FramingError

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) != size:
            raise ConnectionResetError("the caller left inside its request")
        return data

    def _keep_part(self, upload_id: str, received: Received, limit: int) -> None:
        store = self.server.owner.store
        try:
            first, data, _ = chunk_of(received)
            store.keep_part(store.upload(upload_id), first or 0, data[:limit])
        except Refused:
            return  # the chunk itself is bad, and the operation will say so

    def _fail(self, received: Received, fault: Fault, answer: Answer | None = None) -> bool:
        """Do what the fault says; true where the request goes on afterwards."""
        if fault.action == "stall":
            return self._stall(received)
        self.close_connection = fault.action != "status"
        if fault.action == "status":
            headers = {"Content-Type": "application/json; charset=UTF-8", **fault.headers}
            self._send(received, Answer(fault.status, list(headers.items()), fault.body))
        elif fault.action == "reset":
            self.server.to_reset.add(self.connection)
        elif answer is not None:
            self._send(received, answer, keep=fault.keep)
        return False

    def _stall(self, received: Received) -> bool:
        while not self.server.owner.faults.wait_released(STALL_LOOK_S):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                received.abandoned = True
                self.close_connection = True
                return False
        return True

    def _send(self, received: Received | None, answer: Answer, keep: int | None = None) -> None:
        reason = http.client.responses.get(answer.status, "Unknown")
        self.send_response_only(answer.status, "Resume Incomplete" if answer.status == 308 else reason)
        self.send_header("Date", self.date_time_string())
        self.send_header("Server", "UploadServer")
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in NO_BODY:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if received is not None:
            received.status = answer.status
        if answer.status not in NO_BODY and self.command != "HEAD":
            self.wfile.write(answer.body if keep is None else answer.body[:keep])
