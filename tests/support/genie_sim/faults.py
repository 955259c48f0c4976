"""What goes wrong in the simulator, and at which command: the script that its loop follows."""

from __future__ import annotations

import dataclasses
import threading
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = {
    "stall": "*",
    "hang": "*",
    "kill": "*",
    "freeze": "*",
    "drop": "*",
    "error": "*",
    "zombie": "*",
    "duplicate": "*",
    "oversize": "get_camera_data",
    "init_fails": "init_robot",
    "reset_breaks_reads": "reset",
    "lost_exit": "exit",
}
"""Each kind, and the methods it acts on where a fault names none."""

WHENS = ("before", "after")


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail a command that the loop has taken from the mailbox.

    - `stall`: the loop stands still for `seconds`, or until it is released. `hang`: until it is released.
    - `kill`: SIGKILL to itself. `freeze`: SIGSTOP to itself.
    - `drop`: every connection is cut, the process lives on and does its work.
    - `error`: the command's handler raises; what follows is the build's affair.
    - `zombie`: the main thread dies of an exception, whatever the build; its waiting callers keep the process alive.
    - `duplicate`: the command runs twice, as when the loop is faster than the waiting caller.
    - `oversize`: the camera's image is above the server's own message limit.
    - `init_fails`: init_robot answers OK with an error in its msg and leaves the simulator empty.
    - `reset_breaks_reads`: the first read of a joint after the reset fails.
    - `lost_exit`: the process is gone before its answer.

    `on` is a glob over the method's name. `when`: before or after the command's work, where both make sense. It acts
    on every `every`th matching command after `skip` of them, `times` times (0: always). A command that takes many
    ticks is matched once.
    """

    kind: str
    seconds: float = 1.0
    on: str = ""
    skip: int = 0
    times: int = 1
    every: int = 1
    when: str = "before"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}: one of {', '.join(KINDS)}")
        if self.when not in WHENS:
            raise ValueError(f"{self}: `when` is before or after")
        if min(self.skip, self.times, self.seconds) < 0 or self.every < 1:
            raise ValueError(f"{self}: no number is negative, and `every` is at least 1")

    @property
    def methods(self) -> str:
        return self.on or KINDS[self.kind]

    def __str__(self) -> str:
        """As parse() reads it."""
        others = [(field, getattr(self, field.name)) for field in dataclasses.fields(self)[2:]]
        words = [f"{field.name}={value}" for field, value in others if value != field.default]
        return ",".join([f"{self.kind}:{self.seconds:g}", *words])


def parse(spec: str) -> Fault:
    """A fault from `stall:0.45,on=get_object_pose,times=20,every=5`. Raises ValueError for anything else."""
    first, *rest = spec.split(",")
    kind, _, seconds = first.partition(":")
    settings: dict[str, object] = {"seconds": float(seconds)} if seconds else {}
    kinds = {"on": str, "when": str, "skip": int, "times": int, "every": int}
    for word in rest:
        name, _, value = word.partition("=")
        if name not in kinds:
            raise ValueError(f"{spec!r}: {name!r} is none of {', '.join(kinds)}")
        settings[name] = kinds[name](value)
    return Fault(kind, **settings)  # type: ignore[arg-type]  # each was made of the field's own type


class FaultScript:
    """The faults still to come; asked by the loop, added to by the control channel."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[Fault] = list(faults)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._left.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, method: str) -> Fault | None:
        """The first fault that acts on this command; every matching fault before it has counted the command."""
        with self._lock:
            for index, fault in enumerate(self._left):
                if not fnmatchcase(method, fault.methods):
                    continue
                if fault.skip:
                    self._left[index] = dataclasses.replace(fault, skip=fault.skip - 1)
                    continue
                if fault.times == 1:
                    del self._left[index]
                else:
                    times = fault.times - 1 if fault.times else 0
                    self._left[index] = dataclasses.replace(fault, skip=fault.every - 1, times=times)
                return fault
            return None

    @property
    def left(self) -> list[str]:
        with self._lock:
            return [str(fault) for fault in self._left]
