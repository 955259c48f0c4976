"""The kept connections to one upstream."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blueprint_proxy.errors import AttemptTimedOut, UpstreamUnreachable
from blueprint_proxy.outbound.connection import ClientConnection
from blueprint_proxy.sweep import Limit

if TYPE_CHECKING:
    from blueprint_proxy.sweep import Alarm, Sweep

IDLE_EXPIRY = 30.0
"""Seconds that a connection is kept unused. The close of a server that keeps shorter (uvicorn and node 5 s, nginx 75 s)
is seen when it comes; this bounds what is held open for nothing, as load balancers drop idle flows without a word."""
MAX_AGE = 300.0
"""Seconds after which a connection is not used again, so that a changed DNS answer takes hold."""
CAUTIOUS_AGE = 1.0
"""Idle seconds up to which a kept connection carries a call that may not be repeated. Older ones may be closing this
moment."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an upstream listens: a host and port, or a unix socket's path; `tls` None means plain text."""

    host: str
    port: int
    unix: str | None = None
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"unix:{self.unix}" if self.unix else f"{self.host}:{self.port}"


class Pool:
    """Connections to `origin`: the last one used is the first to serve again, at most `cap` are kept idle."""

    def __init__(self, origin: Origin, sweep: Sweep, *, cap: int) -> None:
        self.origin = origin
        self._sweep = sweep
        self._cap = cap
        self._idle: list[ClientConnection] = []
        self._all: set[ClientConnection] = set()
        self._alarm: Alarm | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    @property
    def active(self) -> int:
        """Connections that carry one, or are closing."""
        return len(self._all) - len(self._idle)

    def take(self, *, repeatable: bool) -> ClientConnection | None:
        """A kept connection that may carry such a call, if there is one."""
        now = self._sweep.now()
        while self._idle:
            connection = self._idle.pop()
            if connection.closed:
                continue
            if now - connection.opened > MAX_AGE:
                connection.abort()
                continue
            if not repeatable and now - connection.idle_since > CAUTIOUS_AGE:
                self._idle.append(connection)
                return None
            return connection
        return None

    async def connect(self, limit: float) -> ClientConnection:
        """A new connection within `limit` seconds, its name resolved afresh; UpstreamUnreachable or AttemptTimedOut."""
        loop = asyncio.get_running_loop()
        origin = self.origin

        def make() -> ClientConnection:
            return ClientConnection(self._sweep, self._serve_again, self._forget)

        try:
            with Limit(self._sweep, self._sweep.now() + limit, lambda: AttemptTimedOut("connect", limit, sent=False)):
                if origin.unix is not None:
                    _, connection = await loop.create_unix_connection(make, origin.unix)
                else:
                    _, connection = await loop.create_connection(
                        make,
                        origin.host,
                        origin.port,
                        ssl=origin.tls,
                        server_hostname=origin.host if origin.tls is not None else None,
                    )
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or error
            raise UpstreamUnreachable(f"TLS with {origin} failed: {why}") from error
        except OSError as error:
            raise UpstreamUnreachable(f"cannot connect to {origin}: {error.strerror or error}") from error
        except UnicodeError as error:
            raise UpstreamUnreachable(f"cannot connect to {origin}: that is no host name") from error
        if connection.closed:
            raise UpstreamUnreachable(f"cannot connect to {origin}: it closed the connection at once")
        self._all.add(connection)
        return connection

    def close(self) -> None:
        """Ends the idle connections, and the others when their exchange is over."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _serve_again(self, connection: ClientConnection) -> None:
        if self._closed or len(self._idle) >= self._cap:
            connection.abort()
            return
        self._idle.append(connection)
        if self._alarm is None:
            self._alarm = self._sweep.at(connection.idle_since + IDLE_EXPIRY, self._expire)

    def _forget(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _expire(self) -> None:
        self._alarm = None
        oldest_kept = self._sweep.now() - IDLE_EXPIRY
        expired = [connection for connection in self._idle if connection.idle_since <= oldest_kept]
        self._idle = [connection for connection in self._idle if connection.idle_since > oldest_kept]
        for connection in expired:
            connection.abort()
        if self._idle:
            self._alarm = self._sweep.at(self._idle[0].idle_since + IDLE_EXPIRY, self._expire)
