"""Kind grpc: any gRPC service, with nothing known but gRPC itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from blueprint_proxy.calls import Verdict
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply
from blueprint_proxy.upstreams.kind import Operation, judge_status

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Reply

TOO_LARGE = "essage larger than max"
"""What every gRPC library says, in a status of RESOURCE_EXHAUSTED, of a message over its limit."""


class RpcKind(Protocol):
    """The domain knowledge about one sort of gRPC service. Stateless."""

    @property
    def credential_header(self) -> tuple[str, str]:
        """The metadata that carries a credential by default: its key, and a template with `{}`."""

    @property
    def credential_fields(self) -> frozenset[bytes]:
        """Keys by which a job would bring its own credential: dropped where we have one."""

    def unary(self, method: str) -> bool | None:
        """Whether `method` (/package.Service/Method) takes one message and gives one; None where that is not known."""

    def operation(self, method: str, message: bytes | None) -> Operation:
        """What is asked for, from the method and, where there is just one, the message."""

    def judge(self, call: Call, reply: Reply) -> Verdict:
        """What a reply with a status of 400 or more says."""


class GrpcKind:
    """Operations are named by their method, without the first slash. None may be repeated unless `class` says so."""

    credential_header = ("authorization", "Bearer {}")
    credential_fields = frozenset({b"authorization"})

    def unary(self, method: str) -> bool | None:  # noqa: ARG002 -- an RpcKind's shape
        """Nobody but the configuration (`unary`) knows."""
        return None

    def operation(self, method: str, message: bytes | None) -> Operation:  # noqa: ARG002 -- an RpcKind's shape
        return Operation(method.removeprefix("/"), repeatable=False)

    def judge(self, call: Call, reply: Reply) -> Verdict:
        """As HTTP's meanings have it; a message over a limit is the caller's fault and no call for patience."""
        if isinstance(reply, RpcReply):
            ended = reply.ended
            if ended.code is Code.RESOURCE_EXHAUSTED and TOO_LARGE in ended.message:
                return Verdict.FATAL
        return judge_status(call, reply)
