"""What a status means that the gRPC library gave: the upstream's own word, or how the way to it failed.

The library makes statuses of its own for connections that fail, and says in words alone which of them it is. Any
upstream can use the same words for a failure of its own (a gateway does). That nothing was sent is therefore believed
only where no connection stands: the one that carried an upstream's word still does. That a connection was lost is
believed in any case: it says no more than that the call may have been executed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.rpc.codes import Code

if TYPE_CHECKING:
    from blueprint_proxy.errors import ProxyError
    from blueprint_proxy.rpc.exchange import RpcCall, Status

NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "errors resolving ",
    "DNS resolution failed",
    "connections to all",
)
"""How the library's words for a call begin that never had a connection."""
CONNECTION_LOST = (
    "Stream removed",
    "Socket closed",
    "GOAWAY received",
    "Connection reset",
    "ping timeout",
    "keepalive",
)
REFUSED = "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))"
"""REFUSED_STREAM: the upstream promises that it has not looked at the request (RFC 9113 §8.7)."""
OVER_OUR_LIMIT = "CLIENT: Received message larger than max"


def failure(call: RpcCall, status: Status, *, connected: bool) -> ProxyError | None:
    """The error that a status stands for; None where it is the upstream's own word.

    `connected`: whether a connection to it stands after all.
    """
    message = status.message
    if status.code is Code.RESOURCE_EXHAUSTED and OVER_OUR_LIMIT in message:
        return Refusal(
            Reason.TOO_LARGE,
            f"upstream {call.upstream}, {call.operation}: its reply is over message_limit ({message})",
            sent=None if call.repeatable else True,
            attempts=call.attempts,
        )
    error: ProxyError | None = None
    if status.code is Code.UNAVAILABLE and not status.trailing:
        if message == REFUSED:
            error = UpstreamBroke(message, sent=False)
        elif not connected and message.startswith(NEVER_CONNECTED):
            error = UpstreamUnreachable(message)
        elif message.startswith(CONNECTION_LOST):
            error = UpstreamBroke(message, sent=True)
    return error


def ran_out(call: RpcCall, waited: float) -> Refusal:
    """The refusal of a call whose deadline the library noticed before anybody else did."""
    return Refusal(
        Reason.DEADLINE_EXCEEDED,
        f"the call's deadline ran out after {waited:.3g} s, while the upstream was at it",
        sent=None if call.repeatable else True,
        attempts=call.attempts,
        final=True,
    )
