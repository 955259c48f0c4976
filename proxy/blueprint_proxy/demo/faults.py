"""What goes wrong, and when: the script of faults that a stand-in follows, one fault for one request."""

from __future__ import annotations

import dataclasses
import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS = ("status", "throttle", "reset", "stall", "cut")


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail a request.

    - `status`: answers `status` in the API's own error shape.
    - `throttle`: 429 that asks for `retry_delay` seconds of patience, as the API words it.
    - `reset`: reads the whole request, then resets the connection (RST).
    - `stall`: reads the whole request, says nothing for `seconds`, then answers as if nothing had been.
    - `cut`: answers with the whole length declared, sends `after` bytes of the body and closes.

    `on` is a glob over "METHOD target" (query included). `skip` matching requests pass before the fault acts, then it
    acts `times` times. `executed` lets the upstream do the work before a status, a throttle or a reset hides that it
    did; a stall and a cut always do it.
    """

    kind: str
    on: str = "*"
    status: int = 503
    retry_delay: float = 1.0
    seconds: float = 1.0
    after: int = 0
    skip: int = 0
    times: int = 1
    executed: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}: one of {', '.join(KINDS)}")
        if self.times < 1 or min(self.skip, self.after, self.seconds, self.retry_delay) < 0:
            raise ValueError(f"{self}: times is at least 1, and no number is negative")

    @property
    def does_the_work(self) -> bool:
        """Whether the upstream acts on the request although the caller may never learn of it."""
        return self.executed or self.kind in {"stall", "cut"}

    def __str__(self) -> str:
        match self.kind:
            case "status":
                return f"answered {self.status}"
            case "throttle":
                return f"answered 429, wait {self.retry_delay:g} s"
            case "reset":
                return "connection reset"
            case "stall":
                return f"silent for {self.seconds:g} s"
            case _:
                return f"body cut after {self.after} bytes"


@dataclasses.dataclass(slots=True)
class _Pending:
    fault: Fault
    skips: int
    times: int


class FaultScript:
    """Faults in the order in which they act.

    The first unfinished fault whose pattern matches decides alone, so a script for one pattern reads from top to
    bottom: `[Fault("status", skip=1, times=2), Fault("reset", skip=1)]` is pass, 503, 503, pass, reset, then pass.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._pending = [_Pending(fault, fault.skip, fault.times) for fault in faults]

    def take(self, method: str, target: str) -> Fault | None:
        """Use up and return the fault for this request; None lets the request pass."""
        line = f"{method} {target}"
        entry = next((entry for entry in self._pending if fnmatchcase(line, entry.fault.on)), None)
        if entry is None:
            return None
        if entry.skips:
            entry.skips -= 1
            return None
        entry.times -= 1
        if entry.times == 0:
            self._pending.remove(entry)
        return entry.fault

    @property
    def left(self) -> int:
        """Faults that have yet to act, repetitions counted."""
        return sum(entry.times for entry in self._pending)


def faults_from_json(text: str) -> list[Fault]:
    """Read faults from a JSON array of objects with Fault's field names; ValueError or TypeError for anything else."""
    return faults_from(json.loads(text))


def faults_from(items: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """Make faults of parsed JSON objects with Fault's field names."""
    return [Fault(**item) for item in items]


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Give the object that `faults_from` reads back."""
    return dataclasses.asdict(fault)
