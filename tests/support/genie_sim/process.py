"""A stand-in of a test's own: its process, which can be killed, frozen and started again, and what it has counted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from support.genie_sim.ledger import Entry, digest, entries
from support.genie_sim.settings import Settings
from support.proxy import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.genie_sim.faults import Fault

TESTS = Path(__file__).resolve().parents[2]

START_LIMIT = 20.0
"""Seconds until the process has announced itself, on a busy machine; an idle one takes half a second."""
STATE_LIMIT = 5.0
STOP_LIMIT = 10.0

State = dict[str, Any]
"""What the process tells of itself, see server.StandIn.state()."""


class GenieSim:
    """One simulator after another on one port, each life a new process: empty, and with none of the last one's faults.

    - `address`: host:port of the gRPC server, the same in every life.
    - `settings`: those of the life now; `port`, `ledger`, `pid_file` and `life` are filled in.
    """

    def __init__(self, directory: Path, *, faults: Iterable[Fault] = (), settings: Settings | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        chosen = settings or Settings(port=0)
        self.settings = dataclasses.replace(
            chosen,
            port=chosen.port or free_port(),
            ledger=directory / "ledger",
            pid_file=directory / "pid",
            until_stdin_ends=True,
        )
        self._log_file = directory / "genie_sim.log"
        self._others: list[GenieSim] = []
        self.start(faults)

    @property
    def address(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    @property
    def url(self) -> str:
        """As the configuration names an upstream."""
        return f"grpc://{self.address}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def start(self, faults: Iterable[Fault] = ()) -> None:
        """Begin a life; returns when the port is open, or with a boot ahead when the control channel is."""
        words = self.settings.as_arguments() + [word for fault in faults for word in ("--fault", str(fault))]
        with self._log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.genie_sim", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=TESTS,
            )
        self._control = self._announced("control")
        if not self.settings.boot_s:
            self._announced("listening")

    def restart(self, faults: Iterable[Fault] = (), **changes: Any) -> None:
        """Kill it and begin the next life; `changes` are of the settings."""
        self.kill()
        self.settings = dataclasses.replace(self.settings, life=self.settings.life + 1, **changes)
        self.start(faults)

    def wait_until_listening(self) -> None:
        """For a life that began with a boot."""
        self._announced("listening")

    def beside(self) -> GenieSim:
        """A second simulator on the same port, as a stale one beside a restarted one: both accept connections."""
        other = GenieSim(self._directory / f"beside-{len(self._others)}", settings=self.settings)
        self._others.append(other)
        return other

    def kill(self) -> None:
        """SIGKILL, and wait; also of one that is frozen."""
        if self.alive:
            self.process.kill()
        self.process.wait(STOP_LIMIT)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """Kill it and those beside it."""
        for other in self._others:
            other.close()
        self.kill()

    def wait(self) -> int:
        """The exit code of one that ends by itself."""
        return self.process.wait(STOP_LIMIT)

    @property
    def pid_file(self) -> Path:
        """Holds the process id of the life that began last: its identity, for a proxy."""
        assert self.settings.pid_file is not None
        return self.settings.pid_file

    @property
    def kill_command(self) -> list[str]:
        """A restart hook's command: kills the life of now, and leaves the next to respawned()."""
        return ["/bin/sh", "-c", f"kill -9 $(cat {shlex.quote(str(self.pid_file))})"]

    @contextlib.contextmanager
    def respawned(self, pause_s: float = 0.0, **changes: Any) -> Iterator[None]:
        """Inside, the next life begins so long after each end, as with the real supervisor."""
        over = threading.Event()
        failures: list[AssertionError] = []

        def supervise() -> None:
            while not over.wait(0.01):
                if self.alive or over.wait(pause_s):
                    continue
                try:
                    self.restart(**changes)
                except AssertionError as failure:
                    failures.append(failure)
                    return

        thread = threading.Thread(target=supervise, name="supervisor")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert not failures, failures

    def freeze(self) -> None:
        """SIGSTOP; returns when it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        self.wait_until_frozen()

    def wait_until_frozen(self) -> None:
        """For one that a fault freezes; it must not end instead."""
        ended = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # nothing is reaped
        assert ended is not None
        assert ended.si_code == os.CLD_STOPPED, f"it ended instead of freezing:\n{self.log}"

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def state(self) -> State:
        """What this life tells of itself. Not of one that is frozen or dead: that raises OSError."""
        found: State = self._ask("GET", "state")
        return found

    def fault(self, fault: Fault) -> None:
        """Add to the script of this life."""
        self._ask("POST", "fault", str(fault))

    def clear_faults(self) -> None:
        self._ask("POST", "clear")

    def release(self) -> None:
        """Let it go on after a stall, a hang or exhaust()."""
        self._ask("POST", "release")

    def drop_connections(self) -> None:
        self._ask("POST", "drop")

    def exhaust(self, workers: int = 10) -> None:
        """Take workers away until release()."""
        self._ask("POST", "exhaust", str(workers))

    def until(self, holds: Callable[[State], bool], limit: float = STATE_LIMIT) -> State:
        """The first state of which this holds, of whichever life; fails after `limit` seconds, with the last state."""
        deadline = time.monotonic() + limit
        state: State | None = None
        while True:
            with contextlib.suppress(OSError):  # between two lives
                state = self.state()
                if holds(state):
                    return state
            assert time.monotonic() < deadline, f"still not so after {limit:g} s: {state}"
            time.sleep(0.005)

    def entries(self, event: str | None = None, method: str | None = None) -> list[Entry]:
        """What happened in all lives, dead ones too."""
        assert self.settings.ledger is not None
        return [
            entry
            for entry in entries(self.settings.ledger)
            if event in {None, entry.event} and method in {None, entry.method}
        ]

    def executions(self, method: str, payload: bytes | None = None) -> int:
        """How often the loop began to run this command, in all lives; with `payload`, for this request alone."""
        return self._count("executed", method, payload)

    def arrivals(self, method: str, payload: bytes | None = None) -> int:
        """How often a worker took up such a request, in all lives: what a caller or a proxy did, not the simulator."""
        return self._count("arrived", method, payload)

    def _count(self, event: str, method: str, payload: bytes | None) -> int:
        wanted = None if payload is None else digest(payload)
        return sum(wanted in {None, entry.payload} for entry in self.entries(event, method))

    def _ask(self, verb: str, command: str, body: str = "") -> Any:
        connection = HTTPConnection("127.0.0.1", self._control, timeout=STATE_LIMIT)
        try:
            connection.request(verb, f"/{command}", body)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{verb} /{command} of the stand-in: {answer.status} {content}")
        return content

    def _announced(self, what: str) -> int:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            line = b""
            deadline = time.monotonic() + START_LIMIT
            while not line.endswith(b"\n"):
                assert waiting.select(deadline - time.monotonic()), f"no {what} in {START_LIMIT:g} s:\n{self.log}"
                byte = os.read(self.process.stdout.fileno(), 1)
                assert byte, f"it ended before {what}:\n{self.log}"
                line += byte
        port: int = json.loads(line)[what]
        return port


class StartGenieSim(Protocol):
    """What a test is given: starts a GenieSim with these faults and settings."""

    def __call__(self, *faults: Fault, **settings: Any) -> GenieSim: ...


@contextlib.contextmanager
def simulators(directory: Path) -> Iterator[StartGenieSim]:
    """For a fixture: whatever is started inside is gone at the end."""
    with contextlib.ExitStack() as started:

        def start(*faults: Fault, **settings: Any) -> GenieSim:
            chosen = Settings(**{"port": 0, **settings})
            sim = GenieSim(directory / f"genie-sim-{free_port()}", faults=faults, settings=chosen)
            started.callback(sim.close)
            return sim

        yield start
