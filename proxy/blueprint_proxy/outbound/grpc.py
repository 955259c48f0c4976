"""The transport: a Call as an RPC of grpc.aio."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from blueprint_proxy.bodies.messages import MessageStream
from blueprint_proxy.errors import AttemptTimedOut
from blueprint_proxy.outbound.rpc_failures import failure, ran_out
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.rpc.metadata import PREVIOUS_ATTEMPTS, Metadata, passing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from blueprint_proxy.calls import Call
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.outbound.channels import Channels
    from blueprint_proxy.rpc.exchange import RpcCall
    from blueprint_proxy.rpc.metadata import Pair
    from blueprint_proxy.sweep import Alarm, Sweep

EARLY = 0.02
"""Seconds by which the library's clock and the loop's may differ about the moment at which a limit is reached."""

_OVER = (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError)
"""What writing to a call raises when that is over."""

CODES = {code.value[0]: Code(code.value[0]) for code in grpc.StatusCode}


class GrpcTransport:
    """Sends calls to one upstream: a unary one whole, any other as a stream of messages in both directions."""

    def __init__(self, channels: Channels, sweep: Sweep) -> None:
        self._channels = channels
        self._sweep = sweep

    async def __call__(self, call: Call) -> RpcReply:
        rpc_call = cast("RpcCall", call)
        attempt = _Attempt(rpc_call, self._channels, self._sweep)
        if rpc_call.unary:
            return await attempt.unary()
        return await attempt.stream()


class _Attempt:
    """One sending of a call: its limits, and what its end means."""

    def __init__(self, call: RpcCall, channels: Channels, sweep: Sweep) -> None:
        self.call = call
        self.channels = channels
        self.sweep = sweep
        self.began = sweep.now()
        previous = call.previous + call.attempts - 1
        self.repeat = previous > 0
        self.method = call.target.decode("ascii")
        pairs = cast("Metadata", call.headers).pairs
        self.metadata = (*pairs, (PREVIOUS_ATTEMPTS, str(previous))) if self.repeat else pairs
        timeouts = call.settings.timeouts
        self.limit: tuple[str, float] | None = None
        limits = [("attempt", timeouts.attempt), ("first_byte", timeouts.first_byte if call.unary else None)]
        for phase, seconds in limits:
            if seconds is not None and (self.limit is None or seconds < self.limit[1]):
                self.limit = phase, seconds
        self.timeout = None if self.limit is None else self.limit[1]
        if call.upward is not None:
            left = max(call.upward - self.began, 0.001)
            if self.timeout is None or left < self.timeout:
                self.timeout, self.limit = left, None

    async def unary(self) -> RpcReply:
        self.channels.active += 1
        try:
            stub = self.channels.unary(self.method, repeat=self.repeat)
            rpc = stub(self.call.body, metadata=self.metadata, timeout=self.timeout)
            try:
                message: bytes | None = await rpc
            except grpc.aio.AioRpcError as error:
                status = _status(error)
                self.raise_failure(status)
                return RpcReply(status, _passing(error.initial_metadata()), b"")
            initial, trailing = await rpc.initial_metadata(), await rpc.trailing_metadata()
            if message is None:
                return RpcReply(Status(Code.INTERNAL, "the upstream's reply has no message"), _passing(initial), b"")
            status = Status(Code.OK, await rpc.details() or "", _passing(trailing))
            return RpcReply(status, _passing(initial), message)
        finally:
            self.channels.active -= 1

    async def stream(self) -> RpcReply:
        """A Reply as soon as the call is on its way."""
        stub = self.channels.stream(self.method, repeat=self.repeat)
        rpc = stub(metadata=self.metadata, timeout=self.timeout)
        try:
            await rpc.wait_for_connection()
        except grpc.aio.AioRpcError as error:
            status = _status(error)
            self.raise_failure(status)
            return RpcReply(status, _passing(error.initial_metadata()), b"")
        except BaseException:
            rpc.cancel()
            raise
        return RpcReply(Status(), (), MessageStream(RpcMessages(rpc, self)))

    def raise_failure(self, status: Status) -> None:
        error = self.failure(status)
        if error is not None:
            raise error

    def failure(self, status: Status) -> ProxyError | None:
        """What went wrong on the way; None where the status is the upstream's own word."""
        took = self.sweep.now() - self.began
        if status.code is Code.DEADLINE_EXCEEDED and self.timeout is not None and took >= self.timeout - EARLY:
            if self.limit is not None:
                return AttemptTimedOut(*self.limit, sent=True)
            if self.call.settings.mode == "enforce":
                return ran_out(self.call, self.sweep.now() - self.call.arrived)
            return None
        return failure(self.call, status, connected=self.channels.connected(repeat=self.repeat))


class RpcMessages:
    """The upstream's end of a stream. With `timeouts.idle`, a silence of that length in both directions ends it."""

    def __init__(self, rpc: Any, attempt: _Attempt) -> None:
        self._rpc = rpc
        self._attempt = attempt
        self._sweep = attempt.sweep
        self._idle = attempt.call.settings.timeouts.idle
        self._alarm: Alarm | None = None
        self._moved = self._sweep.now()
        self._timed_out = False
        self.error: ProxyError | None = None
        attempt.channels.active += 1
        # names the channels alone: what held this object too would keep the connection until a garbage collection
        rpc.add_done_callback(partial(_left, attempt.channels))
        self._watch()

    @property
    def done(self) -> bool:
        return bool(self._rpc.done())

    async def initial(self) -> tuple[Pair, ...]:
        return _passing(await self._rpc.initial_metadata())

    async def read(self) -> bytes | Status:
        try:
            message = await self._rpc.read()
            if message is not grpc.aio.EOF:
                self._moved = self._sweep.now()
                return cast("bytes", message)
            status = Status(Code.OK, await self._rpc.details() or "", _passing(await self._rpc.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            status = _status(error)
        except asyncio.CancelledError:
            if not self._timed_out:
                raise
            status = Status(Code.UNAVAILABLE, "")
        self._unwatch()
        if self._timed_out and self._idle is not None:
            self.error = AttemptTimedOut("idle", self._idle, sent=True)
            return Status(Code.DEADLINE_EXCEEDED, f"blueprint-proxy: {self.error.message}")
        if status.code is not Code.OK:
            self.error = self._attempt.failure(status)
            if isinstance(self.error, AttemptTimedOut):
                return status._replace(message=f"blueprint-proxy: {self.error.message}")
        return status

    async def write(self, message: bytes) -> bool:
        # Not by `write` of the library: when the upstream ends the call meanwhile, that puts a status of its own
        # (INTERNAL, "Internal error from Core") in the place of the one that is on its way.
        try:
            await self._rpc._cython_call.send_serialized_message(message)  # noqa: SLF001 -- as said
        except _OVER:
            return False  # its status comes by `read`
        self._moved = self._sweep.now()
        return True

    async def done_writing(self) -> None:
        with contextlib.suppress(*_OVER):
            await self._rpc.done_writing()

    def cancel(self) -> None:
        self._unwatch()
        self._rpc.cancel()

    def _watch(self) -> None:
        if self._idle is None or self._rpc.done():
            return
        if self._sweep.now() - self._moved >= self._idle:
            self._timed_out = True
            self._rpc.cancel()
            return
        self._alarm = self._sweep.at(self._moved + self._idle, self._watch)

    def _unwatch(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def _left(channels: Channels, _rpc: object) -> None:
    channels.active -= 1


def _status(error: grpc.aio.AioRpcError) -> Status:
    return Status(CODES[error.code().value[0]], error.details() or "", _passing(error.trailing_metadata()))


def _passing(metadata: Iterable[Any] | None) -> tuple[Pair, ...]:
    return passing(metadata) if metadata else ()
