"""The messages of a streaming call on their way up and down: pulled one at a time, so that none waits here.

What holds a fast sender back is that the next message is read only when the one before has been taken.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from blueprint_proxy.bodies.stream import BodyStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.rpc.exchange import Status
    from blueprint_proxy.rpc.metadata import Pair


class JobMessages:
    """What the layers ask of a streamed request. Its messages go from one end to the other; none is kept."""

    __slots__ = ("over", "received")

    length = None
    """Nobody knows how long it will be."""

    def __init__(self) -> None:
        self.received = 0
        self.over = False

    @property
    def replayable(self) -> bool:
        """Whether an attempt can send it from its first message: nothing has been taken of it yet."""
        return not self.received and not self.over

    def release(self) -> None:
        """Nothing is kept."""


class Messages(Protocol):
    """The upstream's end of a streaming call."""

    error: ProxyError | None
    """Why it ended, where that was not the upstream's own word."""

    @property
    def done(self) -> bool:
        """Whether the status has come, with or without messages before it that are still to read."""

    async def initial(self) -> tuple[Pair, ...]:
        """The initial metadata, when it has come or the call is over."""

    async def read(self) -> bytes | Status:
        """The next message, or how the call ended."""

    async def write(self, message: bytes) -> bool:
        """Sends a message up when there is room for it; False when the call takes no more."""

    async def done_writing(self) -> None:
        """The job has said all it wanted to say."""

    def cancel(self) -> None:
        """Nobody wants the rest."""


class MessageStream(BodyStream):
    """A streaming call's replies, as a Reply's body. `received` counts their bytes; its end is the call's.

    `on_status` hears of the status before the watchers hear of the end.
    """

    __slots__ = ("_messages", "on_status")

    def __init__(self, messages: Messages) -> None:
        super().__init__(_Cancelling(messages))
        self._messages = messages
        self.on_status: Callable[[Status], None] | None = None

    async def initial(self) -> tuple[Pair, ...]:
        """The initial metadata, when it has come or the call is over; raises what the stream was abandoned with."""
        try:
            return await self._messages.initial()
        except asyncio.CancelledError:
            self._raise_own_end()
            raise

    @property
    def done(self) -> bool:
        """Whether the status has come, with or without messages before it that are still to read."""
        return self._messages.done

    async def next(self) -> bytes | Status:
        """The next message, or how the call ended; raises what the stream was abandoned with."""
        try:
            got = await self._messages.read()
        except asyncio.CancelledError:
            self._raise_own_end()
            raise
        if isinstance(got, bytes):
            self.received += len(got)
            return got
        if self.on_status is not None and not self.over:
            self.on_status(got)
            self.on_status = None  # it holds the reply, which holds this
        self._finish(self._messages.error)
        return got

    async def write(self, message: bytes) -> bool:
        """Sends a message up when there is room for it; False when the call takes no more."""
        return await self._messages.write(message)

    async def done_writing(self) -> None:
        """The job has said all it wanted to say."""
        await self._messages.done_writing()

    def _raise_own_end(self) -> None:
        """A cancellation that is not the task's own is how the library says that the call was abandoned here."""
        task = asyncio.current_task()
        if self.error is not None and (task is None or not task.cancelling()):
            raise self.error


class _Cancelling:
    """A Flow that can only be given up: what is pulled needs no pausing."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def pause_body(self) -> None:
        """Nothing is pushed."""

    def resume_body(self) -> None:
        """Nothing is pushed."""

    def abandon_body(self) -> None:
        self._messages.cancel()
