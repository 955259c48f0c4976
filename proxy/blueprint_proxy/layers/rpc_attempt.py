"""One attempt of a gRPC call: its trailers say what it means, how long to wait, and whether to try again at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.bodies.messages import MessageStream
from blueprint_proxy.calls import Verdict
from blueprint_proxy.policies.rpc_hints import NEVER, pushback, retry_info
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply
from blueprint_proxy.rpc.metadata import PUSHBACK, STATUS_DETAILS
from blueprint_proxy.telemetry.tracing import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.rpc.exchange import Status
    from blueprint_proxy.upstreams.kind import Judging


class MakeRpcAttempt:
    """Gives an RpcReply with its verdict and hint; a stream gets its verdict when its status has come.

    With `signed`, where a credential of ours is in the call, the Reply says whether the upstream refused it.
    """

    def __init__(
        self,
        following: Next,
        *,
        kind: Judging,
        now: Callable[[], float],  # noqa: ARG002 -- made in the place of MakeAttempt; the transport keeps the deadline
        relaying: bool = False,
        signed: bool = False,
    ) -> None:
        self._next = following
        self._judge = kind.judge
        self._relaying = relaying
        self._signed = signed and not relaying

    async def __call__(self, call: Call) -> Reply:
        """Send it, as a new child of its trace."""
        if call.trace is not None and not self._relaying:
            fields = call.headers.without(frozenset({HEADER})).plus((HEADER, call.trace.traceparent()))
            call = call.with_headers(fields)
        reply = await self._next(call)
        if not isinstance(reply, RpcReply):
            return reply
        if isinstance(reply.body, MessageStream):
            reply.body.on_status = partial(self._ended, call, reply)
        elif reply.status >= 400:
            verdict = reply.verdict = self._judge(call, reply)
            reply.rejected = self._signed and reply.ended.code is Code.UNAUTHENTICATED
            if verdict is not Verdict.FATAL and not self._relaying:
                wait = hint(reply.ended)
                reply.retry_after = None if wait == NEVER else wait
                reply.repeat_forbidden = wait == NEVER
        return reply

    def _ended(self, call: Call, reply: RpcReply, status: Status) -> None:
        reply.end(status)
        if reply.status >= 400:
            reply.verdict = self._judge(call, reply)


def hint(status: Status) -> float | None:
    """Seconds of patience that a status asks for: the longer of its pushback and its RetryInfo; NEVER where it forbids.

    None where it says nothing.
    """
    found: list[float] = []
    for key, value in status.trailing:
        if key == PUSHBACK:
            wait: float | None = pushback(value)
            if wait == NEVER:
                return NEVER
        elif key == STATUS_DETAILS and isinstance(value, bytes):
            wait = retry_info(value)
        else:
            continue
        if wait is not None:
            found.append(wait)
    return max(found, default=None)
