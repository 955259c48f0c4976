"""Programs under measurement: start, CPU and memory of the whole tree, stop. Linux only, no third-party package."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROC = Path("/proc")
# Nothing of the caller's environment reaches a measured program: a BLUEPRINT_* or proxy variable would change it.
CHILD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOP_GRACE_S = 5.0


class BenchError(Exception):
    """A stack could not be installed, started or measured; the text says which and why."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree_of(pid: int) -> frozenset[int]:
    """Return `pid` and all its living descendants."""
    found: set[int] = set()
    pending = [pid]
    while pending:
        current = pending.pop()
        found.add(current)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in (PROC / str(current) / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
    return frozenset(found)


def cpu_s(pids: frozenset[int]) -> float:
    """Return the CPU seconds, user and system, of all threads of `pids`, dead threads included.

    Read from each process's CPU clock: the same account as utime + stime of /proc/PID/stat, but in nanoseconds where
    those are rounded to 10 ms, which would be a tenth of one body. The clock's number is the kernel's
    (clock_getcpuclockid: `~pid << 3`, CPUCLOCK_SCHED = 2).
    """
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def memory_bytes(pids: frozenset[int], field: str = "VmRSS") -> int:
    """Return the sum of one memory field of /proc/PID/status: VmRSS (now) or VmHWM (peak since the last reset).

    Pages that a master and its workers share are counted in each.
    """
    total = 0
    for pid in pids:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                total += int(line.split()[1]) * 1024
    return total


def reset_memory_peak(pids: frozenset[int]) -> None:
    """Set VmHWM of every process back to its VmRSS."""
    for pid in pids:
        (PROC / str(pid) / "clear_refs").write_text("5")


class Program:
    """One started program: its process tree, its output in a file, a certain end.

    As a context manager it runs inside the block only. It also ends when the benchmark itself is killed (setpriv
    --pdeathsig), so that nothing stays behind on any path.
    """

    def __init__(self, name: str, command: Sequence[str], directory: Path) -> None:
        self.name = name
        self.command = tuple(command)
        self.directory = directory
        self.log_path = directory / "output.log"
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchError(f"{self.name}: not started")
        return self._process.pid

    def __enter__(self) -> Self:
        self._log = self.log_path.open("ab")
        self._process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "TERM", *self.command),
            cwd=self.directory,
            env={"PATH": CHILD_PATH, "HOME": str(self.directory), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, log = self._process, self._log
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: its workers go with it
                process.wait()
        if log is not None:
            log.close()

    def check_alive(self) -> None:
        """Raise BenchError, with the last lines the program wrote, when it has ended."""
        if words := self.ended():
            raise BenchError(words)

    def ended(self) -> str:
        """Return how the program ended and the last lines it wrote; an empty string while it runs."""
        code = None if self._process is None else self._process.poll()
        return "" if code is None else f"{self.name} ended with code {code}: {self.last_words()}"

    def last_words(self) -> str:
        """Return the end of the program's output on one line, at most 400 characters."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return " | ".join(text.splitlines()[-8:])[-400:] or "no output"
