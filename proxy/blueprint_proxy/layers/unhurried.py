"""Sends without any limit: for a server that does not stop when its caller does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from blueprint_proxy.config import Timeouts

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.config import OperationSettings
    from blueprint_proxy.rpc.exchange import RpcCall

REMEMBERED = 256
"""Settings of operations: more than there are methods."""


class SendUnhurried:
    """The last layer before the transport: neither the job's deadline nor a limit of ours goes up.

    Every attempt is a first one for the transport: it is sent by the one connection, whose end tells something.
    """

    def __init__(self, following: Next) -> None:
        self._next = following
        self._settings: dict[int, tuple[OperationSettings, OperationSettings]] = {}

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Send a copy of the call."""
        copy = cast("RpcCall", call.with_headers(call.headers))
        copy.settings = self._unhurried(call.settings)
        copy.upward = None
        copy.previous = 0
        copy.attempts = 1
        return self._next(copy)

    def _unhurried(self, settings: OperationSettings) -> OperationSettings:
        found = self._settings.get(id(settings))
        if found is None or found[0] is not settings:
            if len(self._settings) >= REMEMBERED:
                self._settings.clear()
            limits = Timeouts(connect=settings.timeouts.connect, first_byte=None, idle=None, attempt=None)
            found = self._settings[id(settings)] = (settings, replace(settings, timeouts=limits))
        return found[1]
