"""The stand-in's process: the server, its loop and its control channel, from boot to end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from support.genie_sim.control import Control
from support.genie_sim.faults import FaultScript, parse
from support.genie_sim.ledger import Ledger
from support.genie_sim.loop import Loop
from support.genie_sim.mailbox import Mailbox
from support.genie_sim.servicer import Servicer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.genie_sim.faults import Fault
    from support.genie_sim.settings import Settings

WORKERS = 10
MESSAGE_LIMIT = 16_094_304
EXIT_GRACE_S = 0.2
"""After exit the reply races the teardown; this lets it win where no fault says otherwise."""

ESTABLISHED = "01"


class StandIn:
    """One process's worth of simulator; run() is its main thread."""

    def __init__(self, settings: Settings, faults: Iterable[Fault]) -> None:
        self._settings = settings
        self._phase = "booting"
        self._parked = threading.Event()
        self._exhausted = 0
        self._port = settings.port
        self._script = FaultScript(faults)
        self._ledger = Ledger(settings.ledger, settings.life)
        mailbox = Mailbox(greedy=settings.greedy)
        self._loop = Loop(settings, mailbox, self._ledger, self._script, self.drop_connections)
        self._servicer = Servicer(mailbox, self._ledger, patched=settings.patched)
        self._pool = ThreadPoolExecutor(max_workers=WORKERS)
        limits = [("grpc.max_send_message_length", MESSAGE_LIMIT), ("grpc.max_receive_message_length", MESSAGE_LIMIT)]
        self._server = grpc.server(self._pool, handlers=[self._servicer], options=limits)
        self._control = Control(
            self.state,
            {
                "fault": lambda body: self._script.add(parse(body)),
                "clear": lambda _body: self._script.clear(),
                "release": lambda _body: self.release(),
                "drop": lambda _body: self.drop_connections(),
                "exhaust": lambda body: self.exhaust(int(body or WORKERS)),
            },
        )

    def run(self) -> None:
        """Boot, open the port, step until exit. Prints one line of JSON when control and port are open."""
        _announce("control", self._control.port)
        time.sleep(self._settings.boot_s)
        self._port = self._server.add_insecure_port(f"{self._settings.host}:{self._settings.port}")
        self._server.start()
        self._phase = "port open"
        _announce("listening", self._port)
        time.sleep(self._settings.warm_up_s)
        self._phase = "running"
        try:
            self._loop.run()
        finally:
            self._phase = "exiting" if self._loop.simulation.exiting else "zombie"
        self._server.stop(EXIT_GRACE_S).wait()

    def state(self) -> dict[str, Any]:
        """All there is to assert of this life."""
        return {
            "life": self._settings.life,
            "epoch": {"pid": os.getpid(), "started": started_at(os.getpid())},
            "build": self._settings.build,
            "phase": self._phase,
            "ticks": self._loop.ticks,
            "standing": self._loop.standing,
            "faults": self._script.left,
            "exhausted": self._exhausted,
            "counts": self._ledger.as_json(),
            **self._servicer.state(),
            **self._loop.simulation.state(),
        }

    def release(self) -> None:
        """Let whatever stands still go on: the loop and the exhausted workers."""
        self._loop.release()
        self._parked.set()
        self._parked = threading.Event()
        self._exhausted = 0

    def exhaust(self, workers: int) -> None:
        """Take workers away, as abandoned callers in the mailbox do, until release()."""
        self._exhausted += workers
        for _ in range(workers):
            self._pool.submit(self._parked.wait)

    def drop_connections(self) -> None:
        """Cut every connection to the server's port, as a network does: the process and its work are untouched."""
        for descriptor in _connections_to(self._port):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.shutdown(socket.SHUT_RDWR)


def started_at(pid: int) -> int:
    """When the process began, in clock ticks since the machine's boot: with the pid, its identity."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _connections_to(port: int) -> list[int]:
    """This process's descriptors of accepted connections to the port."""
    inodes = set()
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == ESTABLISHED and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{words[9]}]")
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(link) in inodes:  # noqa: PTH115 -- a link to no path
                found.append(int(link.name))
    return found


def _announce(what: str, port: int) -> None:
    sys.stdout.write(f"{json.dumps({what: port})}\n")
    sys.stdout.flush()
