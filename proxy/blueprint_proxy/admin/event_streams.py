"""What happens, told to operators as it happens: server-sent events (text/event-stream) from the telemetry's events.

A listener that reads too slowly loses events and is told how many, in the place where they are missing; nothing waits
for it and nothing grows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from blueprint_proxy.telemetry.events import Event
    from blueprint_proxy.telemetry.stream import Telemetry

QUEUE = 1000
"""Events kept for one listener: a few hundred kilobytes, a second of a busy proxy."""

ALIVE_EVERY = 10.0
"""Seconds of silence after which a comment is sent, so that both ends see a connection that broke."""

_ALIVE = b": alive\n\n"


class EventStreams:
    """The open streams. An event costs nothing while there are none."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._open: set[_Stream] = set()
        self._ended = False

    async def listen(self) -> AsyncIterator[bytes]:
        """Give every event from now on, until `end`: `event: NAME` and `data:` with its JSON, to which `at` is added.

        `at` is in seconds since 1970. Lost events are one `dropped` with their `count`.
        """
        stream = _Stream()
        unsubscribe = self._telemetry.subscribe(stream.take)
        self._open.add(stream)
        if self._ended:
            stream.end()
        try:
            yield _ALIVE  # the head goes out with the first bytes: the listener knows that it listens
            async for chunk in stream.chunks():
                yield chunk
        finally:
            self._open.discard(stream)
            unsubscribe()

    def end(self) -> None:
        """End every stream once what it holds is given, and every later one at once."""
        self._ended = True
        for stream in self._open:
            stream.end()


class _Stream:
    """What one listener has not read yet."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Event]] = deque()
        self._dropped = 0
        self._ended = False
        self._news = asyncio.Event()

    def take(self, event: Event) -> None:
        if len(self._queue) < QUEUE:
            self._queue.append((time.time(), event))
        else:
            self._dropped += 1
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(ALIVE_EVERY):
                    await self._news.wait()
            except TimeoutError:
                yield _ALIVE
                continue
            self._news.clear()
            # events are only lost behind a full queue, so their place is after all that it holds
            events, dropped = list(self._queue), self._dropped
            self._queue.clear()
            self._dropped = 0
            for at, event in events:
                yield _told(event.name, {**event.to_dict(), "at": at})
            if dropped:
                yield _told("dropped", {"event": "dropped", "count": dropped, "at": time.time()})
            if self._ended and not self._news.is_set():
                return


def _told(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
