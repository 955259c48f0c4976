"""One secret as the store holds it: the last good value, where it is from, and why other places had none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blueprint_proxy.policies.backoff import full_jitter
from blueprint_proxy.secrets.looking import Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint_proxy.config import CredentialSource, Secret, SecretPlace
    from blueprint_proxy.secrets.looking import Answer

JITTER = 0.1
"""The share of `refresh` by which looks are spread, so that a fleet does not ask at once."""
AGAIN, AGAIN_CAP = 1.0, 15.0
"""Seconds of back-off while something is missing, or a better place could not be asked."""
EARLY_AGAIN = 5.0
"""Seconds from a look that an upstream's complaint caused, and that brought nothing new, to the next: a new version
becomes `latest` a while after it is there, and calls that fail for a bad key must not be calls at the store."""
EARLY_AGAIN_CAP, EARLY_LOOKS = 60.0, 10
"""Seconds between, and number of, looks after a complaint that brought nothing new: some six minutes' worth."""


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

    def to_ask(self, answers: Mapping[SecretPlace, Answer]) -> SecretPlace | None:
        """The place at Secret Manager that has a say; None where there is none, or a better place has a value."""
        for place in self.source.places:
            if place.kind == "secret_manager":
                return place
            if isinstance(answers[place], Found):
                return None
        return None

    def plan(self, now: float, refresh: float, chance: float, *, renewed: bool, early: bool) -> None:
        """When to look again: after `refresh`; sooner while something is wrong, or an upstream has complained.

        `chance` is a random number in [0, 1), `renewed` whether the look brought another value, `early` whether an
        upstream's complaint caused it.
        """
        waits = [refresh * (1.0 - JITTER * chance)]
        if self.found and not self.passing:
            self.failures = 0
        else:
            self.failures += 1
            waits.append(AGAIN / 2 + full_jitter(self.failures, AGAIN, AGAIN_CAP, lambda: chance))
        if renewed:
            self.complaints = 0
        elif early:
            self.complaints = 1
        elif self.complaints:
            self.complaints = (self.complaints + 1) % EARLY_LOOKS
        if self.complaints:
            self.early = now + EARLY_AGAIN
            waits.append(min(EARLY_AGAIN * 2.0 ** (self.complaints - 1), EARLY_AGAIN_CAP))
        self.due = now + min(waits)

    def land(self) -> None:
        """End the look under way for all that wait for it."""
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.set_result(None)
