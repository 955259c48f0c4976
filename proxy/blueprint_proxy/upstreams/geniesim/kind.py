"""What is known of Genie Sim's calls: which each is, whether it may be sent again, what its statuses mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply
from blueprint_proxy.upstreams.geniesim import methods
from blueprint_proxy.upstreams.kind import Operation

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Reply

_CALLERS_FAULT = frozenset({Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED, Code.INVALID_ARGUMENT})
"""A message over the server's own limit, a method that it does not have. Neither says anything about its health."""


class GenieSimKind:
    """All methods take one message and give one."""

    credential_header = ("authorization", "Bearer {}")
    credential_fields = frozenset({b"authorization"})

    def unary(self, method: str) -> bool | None:  # noqa: ARG002 -- an RpcKind's shape
        return True

    def operation(self, method: str, message: bytes | None) -> Operation:
        name = methods.operation(method, message or b"")
        return Operation(name, repeatable=methods.method(name).class_ != "unsafe")

    def judge(self, call: Call, reply: Reply) -> Verdict:  # noqa: ARG002 -- an RpcKind's shape
        if isinstance(reply, RpcReply) and reply.ended.code in _CALLERS_FAULT:
            return Verdict.FATAL
        return Verdict.RETRYABLE
