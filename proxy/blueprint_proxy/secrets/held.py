"""One secret as the store holds it: the last good value, where it is from, and why other places had none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blueprint_proxy.secrets.looking import Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint_proxy.config import CredentialSource, Secret, SecretPlace
    from blueprint_proxy.secrets.looking import Answer


class HeldSecret:
    """Changed only by the store, on the event loop.

    `value` None: there is none (yet). `place` and `version` say where it is from, `read_at` when it was last found
    there, in loop time, and `found` whether the last look did. `why` tells of the places without one. `passing`: a
    place that could not be asked may hold a better value. `loaded` is set once every place has been looked at. `flight`
    is the look under way, if there is one.
    """

    __slots__ = (
        "complaints", "due", "early", "failures", "flight", "found", "loaded", "passing", "place", "read_at", "source",
        "value", "version", "why",
    )  # fmt: skip

    def __init__(self, source: CredentialSource) -> None:
        self.source = source
        self.value: Secret | None = None
        self.place: SecretPlace | None = None
        self.version: str | None = None
        self.read_at = 0.0
        self.why = ""
        self.passing = False
        self.found = False
        self.loaded = asyncio.Event()
        self.flight: asyncio.Future[None] | None = None
        self.due = float("-inf")  # loop time of the next look
        self.failures = 0  # looks in a row that left something to be wished for
        self.complaints = 0  # looks since an upstream complained, which have brought nothing new
        self.early = float("-inf")  # loop time from which on an upstream's complaint may cause a look again

    def __repr__(self) -> str:
        return f"HeldSecret({self.id}, {self.origin if self.value is not None else 'missing'})"

    @property
    def id(self) -> str:
        """What an operator knows it by."""
        return self.source.id

    @property
    def origin(self) -> str:
        """Where the value is from, with the version that Secret Manager resolved."""
        if self.place is None:
            return "nowhere"
        pinned = "@" in self.place.name and self.place.kind == "secret_manager"
        return str(self.place) if self.version is None or pinned else f"{self.place} version {self.version}"

    def settle(self, answers: Mapping[SecretPlace, Answer], now: float) -> None:
        """Take the first value there is, in the places' order.

        A value stays where its own place cannot be asked, and where no place has one any more: a key that works is
        worth more than none.
        """
        whys: list[str] = []
        self.passing = self.found = False
        for place in self.source.places:
            answer = answers[place]
            if isinstance(answer, Found):
                self.value, self.place, self.version, self.read_at = answer.secret, place, answer.version, now
                self.why = ", ".join(whys)
                self.found = True
                return
            self.passing = self.passing or answer.passing
            whys.append(f"{place} ({answer.why})")
            if answer.passing and self.value is not None and place == self.place:
                break
        self.why = ", ".join(whys) or "no place is configured"
