"""A gRPC server of HTTP/2 frames by hand, for what no gRPC library does on demand: refusing streams, GOAWAY."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events

Script = Callable[["H2Connection", int, list[tuple[str, str]]], None]


class H2Connection:
    """One connection: `reply`, `refuse`, `go_away`, `close` are for the script, which is run for every request."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.streams = 0
        self.gone = False

    def reply(self, stream: int, message: bytes = b"ok", status: int = 0) -> None:
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.h2.send_data(stream, struct.pack(">BI", 0, len(message)) + message)
        self.h2.send_headers(stream, [("grpc-status", str(status))], end_stream=True)
        self.flush()

    def refuse(self, stream: int, code: int = 7) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def go_away(self, last_stream: int) -> None:
        self.h2.close_connection(last_stream_id=last_stream)
        self.flush()
        self.gone = True

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(self.h2.data_to_send())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class H2Upstream:
    """Runs `script(connection, stream, headers)` when a request is whole."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[H2Connection] = []
        self.requests: list[dict[str, str]] = []
        self.failures: list[BaseException] = []
        self._start(self._accept)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            connection.close()
        assert not self.failures, self.failures

    def _start(self, run: Any, *args: Any) -> None:
        threading.Thread(target=run, args=args, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = H2Connection(sock, len(self.connections))
            self.connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: H2Connection) -> None:
        connection.h2.initiate_connection()
        connection.flush()
        headers: dict[int, Any] = {}
        while True:
            try:
                data = connection.sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            if connection.gone:
                continue
            try:
                for event in connection.h2.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        headers[event.stream_id] = event.headers
                    elif isinstance(event, h2.events.DataReceived):
                        connection.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        self.requests.append(dict(headers[event.stream_id]))
                        connection.streams += 1
                        self._script(connection, event.stream_id, headers[event.stream_id])
                connection.flush()
            except OSError:
                return
            except BaseException as failure:  # noqa: BLE001 -- the test looks at it
                self.failures.append(failure)
                return
