"""Runs the admin application on the process's own loop: uvicorn without its signals, its exits and its ticking.

uvicorn by itself takes over SIGTERM, calls sys.exit when a port is taken and wakes ten times a second to look for an
order to stop. Here the socket is given, and the order to stop is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import uvicorn

from blueprint_proxy.admin.connection import AdminConnection

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

GRACE = 2
"""Seconds that an admin request under way may take to end (uvicorn takes whole seconds)."""

KEEP_ALIVE = 60
"""Seconds that an idle connection is kept. A job's thread that guards a function keeps one and calls in bursts."""


async def serve_admin(
    app: Any,
    listener: socket.socket,
    *,
    started: Callable[[], None],
    stopping: asyncio.Event,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve `app` (any ASGI application) on a socket that listens already, until `stopping` is set.

    `started` is called once requests are answered. The socket is the caller's to close.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http=AdminConnection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who asks is decided by the socket, never by a header
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    config.load()
    config.ssl = tls  # a context made by the composition root: the data listener's
    await _Server(config, started, stopping).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and waits for an event."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._announce = started
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the composition root."""
        yield

    async def main_loop(self) -> None:
        """Wait for the event instead of ticking: the tick's one product, a Date field, is off."""
        self._announce()
        try:
            await self._stopping.wait()
        except asyncio.CancelledError:  # uvicorn's orderly shutdown will not follow
            for server in self.servers:
                server.close()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            for task in self.server_state.tasks:
                task.cancel()
            raise
