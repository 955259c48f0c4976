"""How a stand-in is set up: the same for the command line and for tests."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BUILDS = ("v3.2.0", "old", "old-exits")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """One simulator.

    - `build`: what an exception in a command does. v3.2.0: it becomes the result "ERROR: ...". old: it ends the main
      thread, which leaves a zombie where a caller waits. old-exits: it ends the process at once.
    - `patched`: with the pipeline's patches: cameras, plain observations, contact and wrench reports.
    - `boot_s`: until the port opens. `warm_up_s`: from then until the loop runs. `init_s`: how long init_robot blocks.
    - `hz`: ticks a second; a call takes one. `motion_ticks`, `gripper_ticks`: how many the slow commands take.
    - `greedy`: the loop does not wait until an answer is taken, as the real one does not: see Mailbox.
    - `ledger`: the file of what happened, of all lives. `pid_file`: holds the process's id while it lives.
    - `life`: which life of the simulator this is, from 1.
    - `until_stdin_ends`: the process ends with its standard input, so that it never outlives a test run.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    build: str = "v3.2.0"
    patched: bool = False
    boot_s: float = 0.0
    warm_up_s: float = 0.0
    init_s: float = 0.05
    hz: float = 60.0
    motion_ticks: int = 30
    gripper_ticks: int = 12
    greedy: bool = False
    ledger: Path | None = None
    pid_file: Path | None = None
    life: int = 1
    until_stdin_ends: bool = False

    def __post_init__(self) -> None:
        if self.build not in BUILDS:
            raise ValueError(f"unknown build {self.build!r}: one of {', '.join(BUILDS)}")

    def as_arguments(self) -> list[str]:
        """The command line that means the same."""
        words: list[str] = []
        for field in dataclasses.fields(self):
            value, flag = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif value is not None and value is not False:
                words += [flag, str(value)]
        return words
