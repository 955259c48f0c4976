"""A job that speaks to the proxy byte by byte."""

from __future__ import annotations

import socket

from support.wire import Reply, Wire, request


class RawClient(Wire):
    """One connection to the proxy. `address` is (host, port), or a path of a unix socket."""

    def __init__(self, address: tuple[str, int] | str, *, receive_buffer: int | None = None) -> None:
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        super().__init__(sock)

    def call(self, method: str, target: str, *fields: tuple[str, str], body: bytes | None = None) -> Reply:
        """One request and its whole reply."""
        self.send(request(method, target, *fields, body=body))
        return self.read_reply(method)

    def assert_closed(self) -> None:
        """The proxy closes, cleanly or by reset, and sends nothing more."""
        before = len(self.received) - len(self._buffer)
        self.wait_closed()
        assert bytes(self.received[before:]) == b"", "bytes after the last reply"

    def assert_open(self) -> None:
        """Nothing was sent that was not read, and the connection has not been ended."""
        assert self._buffer == b""
        self.sock.setblocking(False)
        try:
            data = self.sock.recv(1)
        except BlockingIOError:
            return
        finally:
            self.sock.settimeout(10)
        raise AssertionError(f"the proxy sent {data!r} or closed")
