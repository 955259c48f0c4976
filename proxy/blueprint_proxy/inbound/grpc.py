"""The gRPC listener: RPCs of jobs in, a Call each, and messages out. Messages are bytes here and never parsed.

A method that is known to take one message and give one is answered whole, through all layers. Any other is a stream:
whatever its arity, messages go through it in both directions as they come.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, Protocol, cast

import grpc
import grpc.aio

from blueprint_proxy.bodies.messages import JobMessages, MessageStream
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.inbound.routing import RUN
from blueprint_proxy.inbound.rpc_answers import ended, refused
from blueprint_proxy.inbound.rpc_routing import route
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.metadata import OWN
from blueprint_proxy.telemetry.events import CallRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from blueprint_proxy.calls import Call, Reply
    from blueprint_proxy.rpc.exchange import RpcCall, RpcReply, Status
    from blueprint_proxy.rpc.metadata import Pair
    from blueprint_proxy.runs.registry import Runs
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.telemetry.stream import Telemetry

FOREVER = 1e9
"""Seconds. The library says that more than this is left where a job set no deadline."""

CODES = {Code(code.value[0]): code for code in grpc.StatusCode}


class RpcDestination(Protocol):
    """What an RPC can be routed to."""

    @property
    def name(self) -> str: ...

    @property
    def kind_name(self) -> str: ...

    def unary(self, method: str) -> bool: ...

    def rpc(
        self,
        method: str,
        metadata: tuple[Pair, ...],
        message: bytes | None,
        *,
        own: Mapping[str, str],
        left: float | None,
        request_id: str,
        run: Run | None,
    ) -> RpcCall: ...

    def check(self, call: RpcCall, size: int) -> None: ...

    def send(self, call: Call) -> Awaitable[Reply]: ...


class RpcListener:
    """What all RPCs share; a generic handler of grpc.aio.

    `token` is asked of every call where the listener is not private to this host; `via` is our pseudonym, by which a
    loop is known; `request_id` keeps a good id and makes one else; `runs` are those that calls can belong to.
    """

    def __init__(
        self,
        upstreams: Mapping[bytes, RpcDestination],
        *,
        telemetry: Telemetry,
        via: bytes,
        token: bytes | None,
        request_id: Callable[[bytes | None], str],
        runs: Runs,
    ) -> None:
        self.upstreams = upstreams
        self.runs = runs
        self.telemetry = telemetry
        self.via = via.decode("ascii")
        self.via_pair = ("via", f"2.0 {self.via}")
        self.token = token
        self.request_id = request_id

    def service(self, details: Any) -> Any:
        """The handler of one RPC, in the shape of its arity where that is known."""
        rpc = _Rpc(self, details.method, details.invocation_metadata)
        try:
            unary = rpc.begin()
        except Refusal as refusal:
            rpc.refusal = refusal
            unary = False
        if unary:
            return grpc.unary_unary_rpc_method_handler(rpc.answer)
        return grpc.stream_stream_rpc_method_handler(rpc.relay)


class _Rpc:
    """One RPC of a job, from its first metadata to its status."""

    __slots__ = ("listener", "metadata", "method", "own", "refusal", "request_id", "run", "upstream")

    upstream: RpcDestination

    def __init__(self, listener: RpcListener, method: str, metadata: tuple[Any, ...]) -> None:
        self.listener = listener
        self.method = method
        self.own: dict[str, str] = {}
        self.refusal: Refusal | None = None
        self.run: Run | None = None
        given: str | None = None
        for key, value in metadata:
            if key == "x-request-id":
                given = value
            elif key.startswith(OWN) and isinstance(value, str):
                self.own[key] = value
        self.request_id = listener.request_id(None if given is None else given.encode("utf-8", "replace"))
        kept = (
            metadata if given in {None, self.request_id} else [pair for pair in metadata if pair[0] != "x-request-id"]
        )
        self.metadata: tuple[Pair, ...] = (*kept, listener.via_pair)

    def begin(self) -> bool:
        """Finds the upstream; whether the method is known to be unary. Refusal for a call that may not come in."""
        listener = self.listener
        if listener.token is not None:
            token = self.own.get("x-blueprint-token", "").encode("latin-1", "replace")
            if not hmac.compare_digest(token, listener.token):
                raise Refusal(Reason.UNAUTHENTICATED, "the x-blueprint-token metadata is missing or wrong", sent=False)
        # our own is the last of them
        if any(key == "via" and listener.via in cast("str", value) for key, value in self.metadata[:-1]):
            raise Refusal(
                Reason.LOOP,
                "this call has been through this proxy already: an upstream's url leads back here",
                sent=False,
            )
        run = self.own.get("x-blueprint-run")
        if run is not None and RUN.fullmatch(run.encode("latin-1", "replace")) is None:
            raise Refusal(Reason.BAD_REQUEST, "x-blueprint-run has characters that no run has", sent=False)
        # A connection of grpc.aio does not say which process is at its other end: only a name or the one lease tells.
        self.run = listener.runs.only if run is None else listener.runs.named(run)
        self.upstream = route(self.method, self.own.get("x-blueprint-upstream"), listener.upstreams)
        return self.upstream.unary(self.method)

    async def answer(self, message: bytes, context: Any) -> bytes:
        """A unary call, whole."""
        try:
            call = self._call(message, context)
            reply = cast("RpcReply", await self.upstream.send(call))
        except Refusal as refusal:
            self._refuse(context, refusal)
            return b""
        if reply.initial:
            await context.send_initial_metadata(reply.initial)
        self._end(context, ended(reply, upstream=call.upstream, request_id=self.request_id))
        return cast("bytes", reply.body)

    async def relay(self, _messages: object, context: Any) -> None:
        """A call of any arity, message by message."""
        if self.refusal is not None:
            self._refuse(context, self.refusal)
            return
        try:
            call = self._call(None, context)
            reply = cast("RpcReply", await self.upstream.send(call))
            body = reply.body
            if isinstance(body, MessageStream):
                await self._relay(context, call, body)
        except Refusal as refusal:
            self._refuse(context, refusal)
        else:
            self._end(context, ended(reply, upstream=call.upstream, request_id=self.request_id))

    async def _relay(self, context: Any, call: RpcCall, stream: MessageStream) -> None:
        """Both directions until the upstream's status. A call that ends otherwise is cancelled there."""
        up = asyncio.get_running_loop().create_task(self._send_up(context, call, stream))
        try:
            initial = await stream.initial()
            if initial or not stream.done:  # a status alone has no initial metadata before it
                await context.send_initial_metadata(initial)
            got = await stream.next()
            while isinstance(got, bytes):
                await context.write(got)
                got = await stream.next()
            if isinstance(stream.error, Refusal):
                raise stream.error
        finally:
            up.cancel()
            stream.abandon()
            await asyncio.wait([up])

    async def _send_up(self, context: Any, call: RpcCall, stream: MessageStream) -> None:
        messages = cast("JobMessages", call.body)
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                messages.over = True
                await stream.done_writing()
                return
            messages.received += len(message)
            try:
                self.upstream.check(call, len(message))
            except Refusal as refusal:
                stream.abandon(refusal)
                return
            if not await stream.write(message):
                return

    def _call(self, message: bytes | None, context: Any) -> RpcCall:
        left = context.time_remaining()
        try:
            return self.upstream.rpc(
                self.method,
                self.metadata,
                message,
                own=self.own,
                left=left if left is not None and left < FOREVER else None,
                request_id=self.request_id,
                run=self.run,
            )
        except Refusal as refusal:
            self.refusal = refusal  # there has been no call that could be recorded
            raise

    def _refuse(self, context: Any, refusal: Refusal) -> None:
        name = self.upstream.name if hasattr(self, "upstream") else ""
        if refusal is self.refusal:
            event = CallRefused(name, "", self.request_id, refusal.reason.value, refusal.retry_after)
            self.listener.telemetry.emit(event)
        self._end(context, refused(refusal, upstream=name, request_id=self.request_id))

    @staticmethod
    def _end(context: Any, status: Status) -> None:
        """Sets `status`, with which the call ends when its handler returns.

        Not by `abort`: its exception and the library's own state hold each other, and with them the call's message,
        until a garbage collection.
        """
        context.set_trailing_metadata(status.trailing)
        context.set_code(CODES[status.code])
        if status.message:
            context.set_details(status.message)
