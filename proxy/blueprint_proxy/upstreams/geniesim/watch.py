"""Looks at the simulator from outside: is its port open, which process serves it, has that process ended."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from blueprint_proxy.upstreams.geniesim.identity import Unseen, still_there

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.config import UpstreamUrl
    from blueprint_proxy.policies.simulator import Simulator
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.upstreams.geniesim.identity import Identity, Seen

CONNECT = 2.0
"""Seconds that a connect may take. A frozen process still takes connections: its kernel does."""
SOON = 0.5
"""Seconds between two looks while it is down or coming up: a start takes a minute."""
SELDOM = 2.0
"""Seconds between two looks at one that is up. That its process ended is known at once, where it can be seen."""


class Watch:
    """Tells `simulator` what it sees. `began` is called when another life has begun, `moved` after every look.

    `busy` says that a call is in flight: then nothing is asked of the port.
    """

    def __init__(
        self,
        simulator: Simulator,
        sweep: Sweep,
        *,
        began: Callable[[str], None],
        moved: Callable[[], None],
        busy: Callable[[], bool],
    ) -> None:
        self.why_unseen: str | None = None
        self.looked = False
        self._simulator = simulator
        self._loop = sweep.loop
        self._now = sweep.now
        self._began = began
        self._moved = moved
        self._busy = busy
        self._identity: Identity | None = None
        self._is_open: Callable[[], Awaitable[bool]] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._next_look = 0.0
        self._pinned: tuple[Seen, int] | None = None

    def configure(self, identity: Identity, is_open: Callable[[], Awaitable[bool]]) -> None:
        """What to look at, from now on: who it is, and whether its port takes connections."""
        self._identity = identity
        self._is_open = is_open
        self._next_look = 0.0

    @property
    def pid(self) -> int | None:
        """The simulator's process, while it is watched and lives."""
        return None if self._pinned is None else self._pinned[0].pid

    def tick(self, now: float) -> None:
        """Look again, where it is time."""
        if now >= self._next_look and (self._looking is None or self._looking.done()):
            self._start(probe=not self._busy())

    def hurry(self) -> None:
        """Look at the next tick."""
        self._next_look = 0.0

    async def look(self) -> None:
        """Look now, at the port too, and return when it is seen."""
        if self._looking is not None and not self._looking.done():
            await asyncio.wait([self._looking])  # it may have begun before what the caller knows of
        await asyncio.wait([self._start(probe=True)])

    async def end(self) -> None:
        """For the end of the process."""
        self._unpin()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _start(self, *, probe: bool) -> asyncio.Task[None]:
        self._looking = self._loop.create_task(self._look(probe=probe))
        return self._looking

    async def _look(self, *, probe: bool) -> None:
        if self._identity is None or self._is_open is None:
            return
        simulator = self._simulator
        is_open = await self._is_open() if probe else None
        if is_open is False and (self._pinned is None or not self._busy()):
            simulator.unreachable(self._now())
        elif is_open:
            simulator.reachable(self._now())
        if is_open is not False:
            seen = await self._identity.look()
            now = self._now()
            if isinstance(seen, Unseen):
                self.why_unseen = seen.why
                if is_open:
                    self._unpin()
                    simulator.unidentified(now)
            else:
                self.why_unseen = None
                if simulator.identified(now, seen.identity):
                    self._began("another process serves its port")
                self._pin(seen)
        self.looked = True
        settled = is_open is not False and self.why_unseen is None
        self._next_look = self._now() + (SELDOM if settled else SOON)
        self._moved()

    def _pin(self, seen: Seen) -> None:
        if seen.pid is None or (self._pinned is not None and self._pinned[0] == seen):
            return
        self._unpin()
        try:
            pidfd = os.pidfd_open(seen.pid)
        except OSError:
            return
        self._pinned = seen, pidfd
        self._loop.add_reader(pidfd, self._ended)
        if not still_there(seen):  # the number may have come to mean another process before it was pinned
            self._ended()

    def _unpin(self) -> None:
        if self._pinned is not None:
            self._loop.remove_reader(self._pinned[1])
            os.close(self._pinned[1])
            self._pinned = None

    def _ended(self) -> None:
        self._unpin()
        self._simulator.died(self._now())
        self._began("its process ended")
        self._next_look = 0.0
        self._moved()


async def port_is_open(url: UpstreamUrl) -> bool:
    """Whether somebody takes a connection there; it is closed at once."""
    try:
        async with asyncio.timeout(CONNECT):
            if url.unix is not None:
                _, writer = await asyncio.open_unix_connection(url.unix)
            else:
                _, writer = await asyncio.open_connection(url.host, url.port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True
