"""The upstream for bodies sent to the proxies: reads a POST to its end and answers with the number of bytes it read.

Started as `python -m bench.upstream --port N`. A path that contains `slow` is read as a slow upstream reads: nothing
for SLOW_START_S, then SLOW_CHUNK bytes at a time with a pause of SLOW_PAUSE_S after each.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
from typing import cast

import uvloop

SLOW_START_S = 1.0
SLOW_CHUNK = 4 * 1024 * 1024
SLOW_PAUSE_S = 0.01
MAX_HEAD = 64 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Sink(asyncio.Protocol):
    """One connection: a keep-alive HTTP/1.1 server that knows Content-Length and nothing else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._length = -1  # of the body being read; -1 between requests
        self._left = 0
        self._slow = False
        self._until_pause = 0
        self._resume: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface, not the base class.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._resume is not None:
            self._resume.cancel()

    def data_received(self, data: bytes) -> None:
        while data and self._transport is not None:
            if self._length < 0:
                self._head += data
                end = self._head.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._head) > MAX_HEAD:
                        self._refuse()
                    return
                head, data = self._head[: end + 4], self._head[end + 4 :]
                self._head = b""
                self._start_body(head)
            taken = min(self._left, len(data))
            self._left -= taken
            data = data[taken:]
            if self._length >= 0 and self._left == 0:
                self._answer()
            elif self._slow:
                self._pace(taken)

    def _start_body(self, head: bytes) -> None:
        length = LENGTH.search(head)
        if length is None or CHUNKED.search(head) is not None:
            # The benchmark sends a length; a proxy that turned it into chunks would be measured on other work.
            self._refuse()
            return
        self._length = self._left = int(length[1])
        self._slow = b"slow" in head.partition(b"\r\n")[0]
        if self._slow:
            self._pause(SLOW_START_S)

    def _pace(self, taken: int) -> None:
        self._until_pause -= taken
        if self._until_pause <= 0:
            self._pause(SLOW_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        if self._transport is not None:
            self._until_pause = SLOW_CHUNK
            if self._resume is not None:
                self._resume.cancel()
            self._transport.pause_reading()
            self._resume = self._loop.call_later(seconds, self._transport.resume_reading)

    def _answer(self) -> None:
        body = b"%d" % self._length
        self._length = -1
        self._slow = False
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _refuse(self) -> None:
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
            self._transport = None


async def serve(port: int) -> None:
    """Serve on 127.0.0.1:`port` until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Sink(loop), "127.0.0.1", port)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
