"""The simulation's loop: one command a tick, taken from the mailbox, and the faults that strike there."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from support.genie_sim.commands import COMMANDS
from support.genie_sim.mailbox import Data, Mailbox, Result
from support.genie_sim.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.genie_sim.faults import Fault, FaultScript
    from support.genie_sim.ledger import Ledger
    from support.genie_sim.settings import Settings


FAILURES = (RuntimeError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a command's handler raises, by itself or over data that another caller left."""


class LoopDiedError(Exception):
    """The main thread's end in a zombie."""


class Loop:
    """Runs on the main thread until exit, an exception or a signal.

    - `drop_connections`: cuts every connection of the server.
    """

    def __init__(
        self,
        settings: Settings,
        mailbox: Mailbox,
        ledger: Ledger,
        script: FaultScript,
        drop_connections: Callable[[], None],
    ) -> None:
        self.simulation = Simulation(settings, self.stand_still)
        self.ticks = 0
        self.standing = False
        self._settings = settings
        self._mailbox = mailbox
        self._ledger = ledger
        self._script = script
        self._drop_connections = drop_connections
        self._released = threading.Event()
        self._current: tuple[int, int] | None = None
        self._fault: Fault | None = None

    def run(self) -> None:
        """Tick until exit. What a command raises leaves from here in the old builds."""
        period = 1 / self._settings.hz
        due = time.monotonic()
        while not self.simulation.exiting:
            self.simulation.step()
            self._tick()
            self.ticks += 1
            due = max(due + period, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def stand_still(self, seconds: float | None) -> None:
        """Stop the simulation and with it every call, for so long or until release()."""
        self.standing = True
        self._released.wait(seconds)
        self._released.clear()
        self.standing = False

    def release(self) -> None:
        """End what stands still now; without effect where nothing does."""
        if self.standing:
            self._released.set()

    def _tick(self) -> None:
        command, data = self._mailbox.command, self._mailbox.data
        if command is None or data is None:
            return
        if self._current != (command, data.arrival):
            self._current = (command, data.arrival)
            self._fault = self._script.take(COMMANDS[command])
            self._strike("before")
            if (self._mailbox.command, self._mailbox.data) != (command, data):
                self._current = None  # it stood still, and the slot is another caller's now: that one is next
                return
            self._note_execution(command, data)
        result = self._executed(command, data)
        if result is not None:
            if self._fault is not None and self._fault.kind == "duplicate":
                self._note_execution(command, data)
                result = self._executed(command, data) or result
            self._strike("after")
            self._fault = None
            self._current = None
        self._mailbox.answer(result)

    def _note_execution(self, command: int, data: Data) -> None:
        self._ledger.note("executed", data.arrival, COMMANDS[command])

    def _executed(self, command: int, data: Data) -> Result | None:
        try:
            value = self._run(command, data)
        except FAILURES as failure:
            if self._settings.build == "v3.2.0":
                value = f"ERROR: {failure}"
            elif self._settings.build == "old-exits":
                os._exit(1)
            else:
                raise
        return None if value is None else Result(value, data.arrival)

    def _run(self, command: int, data: Data) -> Any:
        if self._fault is not None and self._fault.kind == "error":
            raise RuntimeError("a fault that was asked for")
        return self.simulation.run(command, data.fields)

    def _strike(self, when: str) -> None:
        fault = self._fault
        if fault is None:
            return
        if when == "before":
            self._prepare(fault.kind)
        elif fault.kind == "lost_exit":
            os._exit(0)
        if fault.when != when:
            return
        match fault.kind:
            case "stall":
                self.stand_still(fault.seconds)
            case "hang":
                self.stand_still(None)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "drop":
                self._drop_connections()
            case "zombie":
                raise LoopDiedError("the main thread ends, its callers wait")

    def _prepare(self, kind: str) -> None:
        if kind == "init_fails":
            self.simulation.fail_init = True
        elif kind == "reset_breaks_reads":
            self.simulation.break_reads_at_reset = True
        elif kind == "oversize":
            self.simulation.oversize = True
