"""Errors inside of an OK: failures for everything that watches the simulator, and the job's to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.calls import Verdict
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from blueprint_proxy.telemetry.events import AppErrorSeen

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.telemetry.stream import Telemetry

APP_ERROR = "x-blueprint-app-error"


class ReadAppErrors:
    """Gives a reply that holds an error the verdict of a failure. It is never sent again.

    `find` takes an operation and a reply's message and gives the error in it, as text for metadata. The reply passes
    unchanged, with the error in its trailing metadata too; with `fails` it becomes FAILED_PRECONDITION.
    """

    def __init__(
        self, following: Next, *, find: Callable[[str, bytes], str | None], fails: bool, telemetry: Telemetry
    ) -> None:
        self._next = following
        self._find = find
        self._fails = fails
        self._emit = telemetry.emit

    async def __call__(self, call: Call) -> Reply:
        """Look into what came back."""
        reply = await self._next(call)
        if not isinstance(reply, RpcReply) or reply.ended.code is not Code.OK or not isinstance(reply.body, bytes):
            return reply
        error = self._find(call.operation, reply.body)
        if error is None:
            return reply
        self._emit(AppErrorSeen(call.upstream, call.operation, call.request_id))
        marked = (*reply.ended.trailing, (APP_ERROR, error))
        if self._fails:
            reply = RpcReply(Status(Code.FAILED_PRECONDITION, error, marked), reply.initial, b"")
        else:
            reply.ended = reply.ended._replace(trailing=marked)
        reply.verdict = Verdict.RETRYABLE
        reply.repeat_forbidden = True
        return reply
