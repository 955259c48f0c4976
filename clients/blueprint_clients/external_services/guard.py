"""Permits: leave to run a function once, asked from the sidecar and settled with what came of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from blueprint_clients.errors import BY_REASON, BlueprintError, DeadlineExceeded, SidecarUnreachable
from blueprint_clients.external_services.outcomes import MAY_REPEAT
from blueprint_clients.notices import say_once

if TYPE_CHECKING:
    from blueprint_clients.external_services.outcomes import Outcome
    from blueprint_clients.sidecar import Sidecar

MARGIN_S = 5.0
"""Beyond the call's own deadline, by which the sidecar has answered: this only ends a wait for one that hangs."""

WITHOUT_DEADLINE_S = 3600.0
"""The same where the call has none: the sidecar's own limits come first."""

NAME_LIMIT = 64

GRAIN_S = 0.05
"""A permit goes a little before its deadline, so that the sidecar's breaker hears of the hang."""


class Permit(NamedTuple):
    """Leave for attempt `attempt`; it is settled exactly once."""

    id: str
    attempt: int


class Verdict(NamedTuple):
    """What the sidecar says to an outcome: a further permit, or None and the contract's reason where it has one."""

    again: Permit | None
    reason: str | None


class Guard:
    """The guard of one upstream, for one call; `deadline` is in time.monotonic's seconds, None for none."""

    def __init__(self, sidecar: Sidecar, upstream: str, operation: str, deadline: float | None) -> None:
        self.upstream = upstream
        self._sidecar = sidecar
        self._path = f"/v1/guard/{quote(upstream, safe='')}"
        self._operation = label(operation)
        self._deadline = deadline

    def permit(self, *, run: str | None, repeatable: bool | None) -> Permit:
        """Ask for leave; waits in the sidecar for a place. Raises its refusal, or SidecarUnreachable."""
        asked: dict[str, Any] = {"operation": self._operation}
        if self._deadline is not None:
            asked["timeout_s"] = max(0.001, self._deadline - time.monotonic())
        if run is not None:
            asked["run"] = run
        if repeatable is not None:
            asked["repeatable"] = repeatable
        said = self._sidecar.ask("POST", self._path, asked, patience=self._patience())
        return _permit(said, 1)

    def settle(self, permit: Permit, outcome: Outcome) -> Verdict:
        """Say what came of it; where the sidecar repeats, its back-off is waited for here.

        What has happened has happened: a sidecar that cannot be told is noted and nothing is repeated.
        """
        path = f"{self._path}/{quote(permit.id, safe='')}"
        try:
            patience = self._patience() if outcome.kind in MAY_REPEAT else MARGIN_S  # the rest is answered at once
            said = self._sidecar.ask("POST", path, outcome.settlement(), patience=patience)
            again = _permit(said, permit.attempt + 1) if said.get("again") is True else None
        except SidecarUnreachable as error:
            say_once("settle", "a guarded function's outcome could not be told to the sidecar: %s", error)
            return Verdict(None, error.reason)
        except BlueprintError as error:  # 410: the permit has expired, and is settled as a hang
            return Verdict(None, error.reason if error.reason in BY_REASON else self._why_expired())
        reason = said.get("reason")
        return Verdict(again, reason if isinstance(reason, str) else None)

    def _why_expired(self) -> str | None:
        over = self._deadline is not None and time.monotonic() > self._deadline - GRAIN_S
        return DeadlineExceeded.usual_reason if over else None

    def _patience(self) -> float:
        left = WITHOUT_DEADLINE_S if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        return left + MARGIN_S


def label(operation: str) -> str:
    """Make a name that the sidecar takes: 1 to 64 printable ASCII characters."""
    kept = "".join(letter if "!" <= letter <= "~" else "_" for letter in operation)
    return kept[:NAME_LIMIT] or "call"


def _permit(said: dict[str, Any], attempt: int) -> Permit:
    name, number = said.get("permit"), said.get("attempt", attempt)
    if not isinstance(name, str) or not name or not isinstance(number, int):
        raise SidecarUnreachable("the sidecar gave a permit without a name")
    return Permit(name, number)
