"""The answer that holds a lease: it stays open until its run ends, and the end of its connection is noticed at once.

What that end means is for runs/registry.py: it is the run's own only where no process is watched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from blueprint_proxy.runs.lease import Lease
    from blueprint_proxy.runs.registry import Runs

ALIVE_EVERY = 10.0
"""Seconds between two lines to who holds a lease: for its own limit on silence, and so that we notice a dead host."""
VANISHED = 30.0
"""Seconds in which a lease's lines must be acknowledged over TCP, or its holder's host is gone: three lines."""


class LeaseStream(Response):
    """An answer that lasts as long as its run, or as the connection that asked for it."""

    media_type = "application/x-ndjson"

    def __init__(self, runs: Runs, lease: Lease) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._runs = runs
        self._lease = lease

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send lines until the run ends; then it is let go, as it is when the other end goes first."""
        news = asyncio.Event()
        _notice_a_dead_host(scope)
        with self._held(news):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if self._lease.ending is None:
                await _line(send, {"event": "held"})
            async with asyncio.TaskGroup() as tasks:
                leaving = tasks.create_task(_until_left(receive, news))
                while self._lease.ending is None and not leaving.done():
                    try:
                        async with asyncio.timeout(ALIVE_EVERY):
                            await news.wait()
                    except TimeoutError:
                        await _line(send, {"event": "alive"})
                leaving.cancel()
        if self._lease.ending is not None:
            await _line(send, {"event": "ended", "why": self._lease.ending.why}, more=False)

    @contextlib.contextmanager
    def _held(self, news: asyncio.Event) -> Iterator[None]:
        def tell() -> None:
            news.set()

        self._runs.hold(self._lease, tell)
        try:
            yield
        finally:
            self._runs.let_go(self._lease, tell)


async def _until_left(receive: Receive, news: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    news.set()


async def _line(send: Send, said: dict[str, str], *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": json.dumps(said).encode() + b"\n", "more_body": more})


def _notice_a_dead_host(scope: Scope) -> None:
    """Let TCP give up on a holder whose host does not answer any more; a dead process needs no such help."""
    connection: socket.socket | None = scope.get("state", {}).get("connection")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(VANISHED * 1000))
