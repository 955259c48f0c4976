"""With `mode: off`: one attempt, and nothing but an answer where there was no reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.errors import UpstreamError
from blueprint_proxy.layers.retrying import unreachable

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Next, Reply


class RelayOnce:
    """Refuses with upstream_unreachable what failed without a reply."""

    def __init__(self, following: Next) -> None:
        self._next = following

    async def __call__(self, call: Call) -> Reply:
        """Make the one attempt."""
        call.attempts = 1
        call.sent = True
        try:
            return await self._next(call)
        except UpstreamError as error:
            raise unreachable(call, error, sent=error.sent) from error
