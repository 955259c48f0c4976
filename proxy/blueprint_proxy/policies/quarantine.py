"""Calls that kill: the same method and bytes in flight when the simulator died or hung, twice."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

DEADLY = 2
"""Deaths after which a call is not sent any more: one may be chance."""
REMEMBERED = 256
"""Calls remembered, newest last."""


class Death(NamedTuple):
    """One death or hang: in which epoch, and what happened, in the operator's words."""

    epoch: int
    what: str


class Quarantine:
    """Remembers what was in flight when the simulator went, by run."""

    def __init__(self) -> None:
        self._deaths: OrderedDict[tuple[Hashable, str, bytes], tuple[Death, ...]] = OrderedDict()

    def record(self, key: Hashable, method: str, payload: bytes, death: Death) -> bool:
        """Note a death; True when the call is quarantined from now on."""
        call = (key, method, sha256(payload).digest())
        deaths = (*self._deaths.pop(call, ()), death)[-DEADLY:]
        self._deaths[call] = deaths
        if len(self._deaths) > REMEMBERED:
            self._deaths.popitem(last=False)
        return len(deaths) >= DEADLY

    def history(self, key: Hashable, method: str, payload: bytes) -> tuple[Death, ...]:
        """The deaths of a quarantined call, oldest first; empty where it may be sent."""
        if not self._deaths:
            return ()
        deaths = self._deaths.get((key, method, sha256(payload).digest()), ())
        return deaths if len(deaths) >= DEADLY else ()

    def forget(self, key: Hashable) -> None:
        """The run is over."""
        for call in [call for call in self._deaths if call[0] == key]:
            del self._deaths[call]
