"""The one table that turns a refusal, or a reply, into the end of a gRPC call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from blueprint_proxy.errors import STATUSES
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import Status
from blueprint_proxy.rpc.metadata import PUSHBACK

if TYPE_CHECKING:
    from blueprint_proxy.errors import Refusal
    from blueprint_proxy.rpc.exchange import RpcReply
    from blueprint_proxy.rpc.metadata import Pair

NEVER = "-1"
"""The pushback by which a job's own client is told not to repeat what this proxy has given up on."""


def refused(refusal: Refusal, *, upstream: str, request_id: str) -> Status:
    """The status of a refusal. A time to come back is also said in the way that gRPC's own clients heed."""
    trailing: list[Pair] = [
        ("x-blueprint-error", refusal.reason.value),
        ("x-blueprint-source", "proxy"),
        ("x-blueprint-attempts", str(refusal.attempts)),
        ("x-request-id", request_id),
    ]
    if upstream:
        trailing.append(("x-blueprint-upstream", upstream))
    if refusal.sent is False:
        trailing.append(("x-blueprint-not-sent", "true"))
    elif refusal.sent:
        trailing.append(("x-blueprint-maybe-executed", "true"))
    if refusal.retry_after is not None:
        seconds = max(0.0, refusal.retry_after)
        trailing.append(("retry-after", str(math.ceil(seconds))))
        trailing.append((PUSHBACK, str(math.ceil(seconds * 1000))))
    elif refusal.final or refusal.sent:
        trailing.append((PUSHBACK, NEVER))
    return Status(Code[STATUSES[refusal.reason][1]], f"blueprint-proxy: {refusal.message}", tuple(trailing))


def ended(reply: RpcReply, *, upstream: str, request_id: str) -> Status:
    """The upstream's status as it is, with our own trailing metadata behind its own."""
    status = reply.ended
    trailing = list(status.trailing)
    if reply.error is not None:
        trailing = [pair for pair in trailing if pair[0] != PUSHBACK]
        trailing += ((PUSHBACK, NEVER), ("x-blueprint-error", reply.error))
        if reply.retry_after is not None:
            trailing.append(("retry-after", str(math.ceil(reply.retry_after))))
    trailing += (
        ("x-blueprint-upstream", upstream),
        ("x-blueprint-attempts", str(reply.attempts)),
        ("x-blueprint-source", reply.source),
    )
    if not any(key == "x-request-id" for key, _ in status.trailing):
        trailing.append(("x-request-id", request_id))
    return status._replace(trailing=tuple(trailing))
