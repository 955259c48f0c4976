"""The one slot between the server's workers and the simulation's loop, with its defects."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Data:
    """What a caller left in the slot. `arrival` is the stand-in's own bookkeeping: the simulation never looks at it."""

    arrival: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What the loop left for a caller, whichever it is, and of whose data it was made."""

    value: Any
    arrival: int


class Mailbox:
    """Data, command and result, once each, for all callers.

    A caller writes data and command without a lock, one after the other, and waits. The loop reads whatever stands
    there. Whoever wakes first takes the result and clears the slot, also of a command that another has just written. A
    caller without an answer waits for ever: nothing here knows of deadlines.

    The real loop does not wait until its answer is taken. When it is late it runs the same command again, and the
    second result may be left for the next caller. It is so here with `greedy`; without, the loop waits for the taker,
    as if it were never late, because tests could not count otherwise.
    """

    def __init__(self, *, greedy: bool = False) -> None:
        self._greedy = greedy
        self.data: Data | None = None
        self.command: int | None = None
        self.result: Result | None = None
        self.condition = threading.Condition()

    def ask(self, command: int, data: Data) -> Result:
        """Post a command and wait for a result."""
        self.data = data
        self.command = command
        with self.condition:
            while self.result is None:
                self.condition.wait()
            result = self.result
            self.result = None
            self.command = None
            self.condition.notify_all()
        return result

    def answer(self, result: Result | None) -> None:
        """The loop's side, once for each command it ran; None where the command goes on at the next tick."""
        if result is not None:
            self.result = result
        with self.condition:
            self.condition.notify_all()
            if not self._greedy:
                self.condition.wait_for(lambda: self.result is None)
