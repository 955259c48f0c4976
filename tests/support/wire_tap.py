"""A TCP tap: it stands between two ends, passes every byte, and tells afterwards which HTTP/2 frames went by."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECT_LIMIT = 5.0
Way = Literal["up", "down"]


@dataclass
class Seen:
    """A frame: which `way` it went, on which connection, and its header block's fields where it has one."""

    connection: int
    way: Way
    frame: Frame
    fields: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return type(self.frame).__name__.removesuffix("Frame")

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found == name]

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        assert len(found) == 1, f"{name}: {found} in {self.fields}"
        return found[0]


class _Side:
    """What went one way on one connection."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.data = bytearray()
        self.paused = threading.Event()
        self.paused.set()


class _Connection:
    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.up, self.down = _Side("up"), _Side("down")
        self.opened = time.monotonic()

    def close(self, *, reset: bool = False) -> None:
        for end in (self.near, self.far):
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class WireTap:
    """Listens on `port` and passes on to `target` (host, port). Threads, so that it never waits for the test's loop."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._start(self._accept)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def frames(self, way: Way | None = None, kind: str | None = None) -> list[Seen]:
        """Every whole frame so far, in order per connection and way."""
        found = [
            seen
            for number, connection in enumerate(self.connections)
            for side in (connection.up, connection.down)
            for seen in _parse(number, side.way, bytes(side.data))
        ]
        return [seen for seen in found if way in {None, seen.way} and kind in {None, seen.kind}]

    def requests(self) -> list[Seen]:
        """The header blocks that opened streams."""
        return [seen for seen in self.frames("up", "Headers") if any(name == ":method" for name, _ in seen.fields)]

    def only_request(self) -> Seen:
        found = self.requests()
        assert len(found) == 1, found
        return found[0]

    def settings(self, way: Way) -> dict[Any, int]:
        """What one side last announced."""
        announced: dict[Any, int] = {}
        for seen in self.frames(way, "Settings"):
            if isinstance(seen.frame, SettingsFrame):
                announced.update(seen.frame.settings)
        return announced

    def pings(self, way: Way) -> int:
        """Pings that were sent, acknowledgements not counted."""
        return sum(
            isinstance(seen.frame, PingFrame) and "ACK" not in seen.frame.flags for seen in self.frames(way, "Ping")
        )

    def messages(self, way: Way) -> list[tuple[bool, bytes]]:
        """The gRPC messages of all streams that went one way: whether each was compressed, and its bytes as sent."""
        streams: dict[tuple[int, int], bytearray] = {}
        for seen in self.frames(way, "Data"):
            assert isinstance(seen.frame, DataFrame)
            streams.setdefault((seen.connection, seen.frame.stream_id), bytearray()).extend(seen.frame.data)
        found = []
        for data in streams.values():
            at = 0
            while at + 5 <= len(data):
                size = int.from_bytes(data[at + 1 : at + 5], "big")
                found.append((bool(data[at]), bytes(data[at + 5 : at + 5 + size])))
                at += 5 + size
        return found

    def passed(self, way: Way) -> int:
        """Bytes that went one way, over all connections."""
        return sum(len(getattr(connection, way).data) for connection in self.connections)

    def cut(self, *, reset: bool = False) -> None:
        """Breaks every connection, with RST if `reset`."""
        for connection in self.connections:
            connection.close(reset=reset)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _start(self, run: Any, *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, CONNECT_LIMIT)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(near, far)
            self.connections.append(connection)
            self._start(self._pump, connection.up, near, far)
            self._start(self._pump, connection.down, far, near)

    @staticmethod
    def _pump(side: _Side, source: socket.socket, sink: socket.socket) -> None:
        while True:
            try:
                data = source.recv(256 * 1024)
                if data:
                    side.data += data
                    sink.sendall(data)
                    continue
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                for end in (source, sink):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            return


def _parse(connection: int, way: Way, data: bytes) -> list[Seen]:
    decoder = hpack.Decoder()
    decoder.max_header_list_size = 1 << 24
    found: list[Seen] = []
    at = len(PREFACE) if data.startswith(PREFACE) else 0
    block = b""
    while at + 9 <= len(data):
        try:
            frame, length = Frame.parse_frame_header(memoryview(data)[at : at + 9])
        except HyperframeError:
            break
        if at + 9 + length > len(data):
            break
        frame.parse_body(memoryview(data)[at + 9 : at + 9 + length])
        at += 9 + length
        seen = Seen(connection, way, frame)
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            block += bytes(frame.data)
            if "END_HEADERS" in frame.flags:
                seen.fields = [(_text(name), _text(value)) for name, value in decoder.decode(block, raw=True)]
                block = b""
        found.append(seen)
    return found


def _text(value: Any) -> str:
    return bytes(value).decode("latin-1")
