"""A call and a reply of gRPC: what they hold beyond those of every protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blueprint_proxy.calls import Call, Reply
from blueprint_proxy.rpc.codes import HTTP, Code
from blueprint_proxy.rpc.metadata import Metadata

if TYPE_CHECKING:
    from blueprint_proxy.bodies.stream import BodyStream
    from blueprint_proxy.http1.fields import Fields
    from blueprint_proxy.rpc.metadata import Pair


class Status(NamedTuple):
    """How a call ended: its code, its message, and all of its trailing metadata, rich details among it."""

    code: Code = Code.OK
    message: str = ""
    trailing: tuple[Pair, ...] = ()


class RpcCall(Call):
    """`target` is the method's path, `headers` its Metadata, `body` the one request message, or JobMessages.

    `upward` is the deadline that goes up, in loop time: the call's own where the proxy enforces, else only what the
    job stated. `previous` counts the attempts that the job's own client made before this one.
    """

    __slots__ = ("previous", "unary", "upward")

    unary: bool
    upward: float | None
    previous: int

    def with_headers(self, headers: Fields) -> RpcCall:
        """The same call with other metadata, for an attempt."""
        copy = object.__new__(RpcCall)
        for slot in (*Call.__slots__, *RpcCall.__slots__):
            setattr(copy, slot, getattr(self, slot))
        copy.headers = headers
        return copy


class RpcReply(Reply):
    """`status` is the code's HTTP equivalent, `headers` the initial Metadata, `body` the one message or a stream.

    `ended` is the exact status; for a stream it is right once that is over.
    """

    __slots__ = ("ended",)

    def __init__(self, ended: Status, initial: tuple[Pair, ...], body: bytes | BodyStream) -> None:
        super().__init__(HTTP[ended.code], Metadata(initial), body)
        self.ended = ended

    @property
    def initial(self) -> tuple[Pair, ...]:
        """The initial metadata of a reply that is whole."""
        return self.headers.pairs if isinstance(self.headers, Metadata) else ()

    def end(self, ended: Status) -> None:
        """A stream's status has come."""
        self.ended = ended
        self.status = HTTP[ended.code]
