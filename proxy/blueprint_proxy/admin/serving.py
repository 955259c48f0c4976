"""Runs the admin application on the process's own loop: uvicorn without its signals, its exits and its ticking.

uvicorn by itself takes over SIGTERM, calls sys.exit when a port is taken and wakes ten times a second to look for an
order to stop. Here the socket is bound first (an OSError says why it failed) and the order to stop is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GRACE = 2
"""Seconds that an admin request under way may take to end (uvicorn takes whole seconds)."""

MOST_CONNECTIONS = 128
"""Beyond it uvicorn answers 503: probes, a scraper, a few operators and their event streams need far fewer."""


async def serve_admin(app: Any, address: str, *, started: Callable[[str], None], stopping: asyncio.Event) -> None:
    """Serve `app` (any ASGI application) on `address`, HOST:PORT or unix:/path, until `stopping` is set.

    `started` is told the address that was bound, with the real port where 0 was asked for. A unix socket is for this
    user alone (0600) and is removed at the end. OSError, naming the address, when it cannot be bound.
    """
    listener = _bind(address)
    try:
        config = uvicorn.Config(
            app,
            loop="none",
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who asks is decided by the socket, never by a header
            server_header=False,
            date_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
        )
        await _Server(config, lambda: started(_name(listener)), stopping).serve(sockets=[listener])
    finally:
        _release(listener, address)


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


def _bind(address: str) -> socket.socket:
    try:
        if address.startswith("unix:"):
            return _bind_unix(address.removeprefix("unix:"))
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, int(port)))
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise OSError(error.errno, f"the admin listener cannot bind {address}: {error.strerror or error}") from error
    return listener


def _bind_unix(path: str) -> socket.socket:
    """Bind with mode 0600 from the first moment, over a socket that nobody serves any more."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_dead(path: str) -> None:
    """Remove a socket file whose process is gone; leave a served one, and any other file, for bind to complain of."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()


def _release(listener: socket.socket, address: str) -> None:
    listener.close()
    if address.startswith("unix:"):
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)


def _name(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
