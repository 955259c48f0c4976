"""What a call meets of the simulator's life: may it go at all, into which epoch it goes, and what its end says of that.

Asked twice: when the call comes, so that nobody queues for what cannot be, and again at its turn, since the world may
have moved while it waited.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from blueprint_proxy.calls import Verdict
from blueprint_proxy.errors import Fault, Refusal, UpstreamBroke, UpstreamError, UpstreamUnreachable
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.rpc.exchange import RpcCall

EPOCH = "x-blueprint-epoch"
_CUT = frozenset({Code.UNAVAILABLE, Code.CANCELLED})
"""Statuses that the simulator's own methods never give: its server or the way to it ended the call."""


class Watching(Protocol):
    """Whoever follows the simulator's life."""

    @property
    def epoch(self) -> int: ...

    def may_repeat(self, epoch: int) -> bool:
        """Whether what was sent in `epoch`, and may have run, may be sent again."""

    async def admit(self, call: Call) -> None:
        """Return when the call may go; Refusal where it may not."""

    async def sending(self, call: Call) -> int:
        """The epoch into which it is sent now; Refusal where it may not be sent after all, or UpstreamUnreachable."""

    def replied(self, call: Call, reply: RpcReply) -> None:
        """The simulator's loop has turned."""

    def ended(self) -> None:
        """The call that was being sent is over, however it ended."""

    def unreachable(self) -> None:
        """Nobody took the connection."""

    async def lost(self, call: Call) -> None:
        """Return when nothing of the call is left in the simulator, as far as that can be known."""


class LostInFlight(UpstreamError):
    """The connection broke after the call was sent in `epoch`: it may have run."""

    fault = Fault.RESET

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message, sent=True)
        self.epoch = epoch


class AskSimulator:
    """Refuses what cannot be asked now, and says in every refusal which epoch it is."""

    def __init__(self, following: Next, *, watching: Watching) -> None:
        self._next = following
        self._watching = watching

    async def __call__(self, call: Call) -> Reply:
        """Pass on what may go."""
        try:
            await self._watching.admit(call)
            return await self._next(call)
        except Refusal as refusal:
            refusal.headers = (*refusal.headers, (EPOCH.encode("ascii"), b"%d" % self._watching.epoch))
            raise


class SendInEpoch:
    """Sends a call whose turn it is, and says afterwards in which epoch that was."""

    def __init__(self, following: Next, *, watching: Watching) -> None:
        self._next = following
        self._watching = watching

    async def __call__(self, call: Call) -> Reply:
        """The reply, with the epoch in its trailing metadata; LostInFlight where the connection broke."""
        watching = self._watching
        epoch = await watching.sending(call)
        left_there = False
        try:
            return await self._send(call, epoch)
        except asyncio.CancelledError:
            left_there = True  # this process ends, and the simulator goes on with the call
            raise
        finally:
            if not left_there:
                watching.ended()

    async def _send(self, call: Call, epoch: int) -> Reply:
        watching = self._watching
        only = cast("RpcCall", call).only_epoch
        # asked again: while it waited for its next attempt, another call may have lost the connection
        if only is not None and (only != epoch or not watching.may_repeat(only)):
            raise LostInFlight("the simulator has changed since it was sent", only)
        try:
            reply = await self._next(call)
        except UpstreamUnreachable:
            watching.unreachable()
            raise
        except UpstreamBroke as error:
            if not error.sent:
                raise
            await watching.lost(call)
            raise LostInFlight(error.message, epoch) from None
        if not isinstance(reply, RpcReply):
            return reply
        if reply.ended.code in _CUT and reply.verdict is not Verdict.OK:
            await watching.lost(call)
            raise LostInFlight(reply.ended.message or reply.ended.code.name, epoch)
        watching.replied(call, reply)
        reply.ended = reply.ended._replace(trailing=(*reply.ended.trailing, (EPOCH, str(epoch))))
        return reply
