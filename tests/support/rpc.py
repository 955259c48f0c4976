"""Calls of gRPC for tests of layers and transports, without a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from blueprint_proxy.bodies.messages import JobMessages
from blueprint_proxy.calls import Call
from blueprint_proxy.rpc.exchange import RpcCall, Status
from blueprint_proxy.rpc.metadata import Metadata
from support.scripted_upstream import call

if TYPE_CHECKING:
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.rpc.metadata import Pair


def rpc_call(
    *,
    unary: bool = True,
    metadata: tuple[Pair, ...] = (),
    message: bytes = b"ping",
    upward: float | None = None,
    previous: int = 0,
    **other: Any,
) -> RpcCall:
    """A call of /a.B/c; `other` is what `scripted_upstream.call` takes."""
    plain = call(**other)
    made = object.__new__(RpcCall)
    for slot in Call.__slots__:
        setattr(made, slot, getattr(plain, slot))
    made.headers = Metadata(metadata)
    made.unary, made.upward, made.previous = unary, upward, previous
    made.target, made.operation = b"/a.B/c", "a.B/c"
    made.body = message if unary else cast("Any", JobMessages())
    return made


class ScriptedMessages:
    """The upstream's end of a stream: gives `script` one by one, a Status last; without one it waits for ever."""

    def __init__(
        self, *script: bytes | Status, initial: tuple[Pair, ...] = (), error: ProxyError | None = None
    ) -> None:
        self.script = list(script)
        self.initial_metadata = initial
        self.error = error
        self.written: list[bytes] = []
        self.half_closed = asyncio.Event()
        self.cancelled = asyncio.Event()

    @property
    def done(self) -> bool:
        return bool(self.script) and isinstance(self.script[0], Status)

    async def initial(self) -> tuple[Pair, ...]:
        return self.initial_metadata

    async def read(self) -> bytes | Status:
        if not self.script:
            await self.cancelled.wait()
            raise asyncio.CancelledError
        return self.script.pop(0)

    async def write(self, message: bytes) -> bool:
        self.written.append(message)
        return True

    async def done_writing(self) -> None:
        self.half_closed.set()

    def cancel(self) -> None:
        self.cancelled.set()
