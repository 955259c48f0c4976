"""Which process is the simulator: its number and start time, its container's start, or what a program says of it.

A connection cannot tell: it may break while the process lives, and a new process serves the old port. Everything here
that reads /proc takes milliseconds and runs in a thread.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from blueprint_proxy.upstreams.geniesim.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blueprint_proxy.config import IdentitySettings, UpstreamUrl

PROC = Path("/proc")
LIMIT = 5.0
"""Seconds that a program may take to say which simulator it is."""
_LISTEN = "0A"
_ENGINES = ("docker", "podman")


class Seen(NamedTuple):
    """`identity` is another text after each start. `pid`: its process, where that can be seen from here."""

    identity: str
    pid: int | None = None


class Unseen(NamedTuple):
    """It cannot be told. `why` is for the operator."""

    why: str


class Identity(Protocol):
    """Says which life of the simulator this is."""

    async def look(self) -> Seen | Unseen: ...


def identity_of(settings: IdentitySettings, url: UpstreamUrl) -> Identity:
    """The way that is configured; else by the process that listens on the simulator's port."""
    if settings.pid_file is not None:
        return PidFile(settings.pid_file)
    if settings.command is not None:
        return Program(settings.command)
    if settings.container is not None:
        engine = next((name for name in _ENGINES if shutil.which(name)), _ENGINES[0])
        return Program(
            (engine, "container", "inspect", "--format", "{{.Id}} started {{.State.StartedAt}}", settings.container)
        )
    return Listener(url.host, url.port)


class Program:
    """What a program prints."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        self._argv = argv

    async def look(self) -> Seen | Unseen:
        ended = await run(self._argv, LIMIT)
        words = " ".join(ended.output.split())
        if ended.code == 0 and words:
            return Seen(words)
        return Unseen(f"{self._argv[0]} ended with {ended.code}: {words[:200]}")


class PidFile:
    """The process that a file names."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def look(self) -> Seen | Unseen:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Seen | Unseen:
        try:
            pid = int(self._file.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return Unseen(f"{self._file} holds no process number")
        return _seen(pid) or Unseen(f"{self._file} names process {pid}, which is not there")


class Listener:
    """The process that listens on a port of this host."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._last: tuple[set[int], Seen] | None = None

    async def look(self) -> Seen | Unseen:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Seen | Unseen:
        if not _is_here(self._host):
            return Unseen(f"{self._host} is not this host: configure identity")
        inodes = set(_listening(self._port))
        if not inodes:
            return Unseen(f"no process of this network namespace listens on port {self._port}")
        if self._last is not None and self._last[0] == inodes and still_there(self._last[1]):
            return self._last[1]
        holders = {seen for pid in _visible() if _holds(pid, inodes) and (seen := _seen(pid)) is not None}
        if len(holders) != 1:
            return Unseen(
                f"{len(holders)} processes listen on port {self._port}, and share its calls"
                if holders
                else f"the process that listens on port {self._port} is another user's or in another container"
            )
        seen = holders.pop()
        self._last = (inodes, seen)
        return seen


def still_there(seen: Seen) -> bool:
    """Whether its process lives, and is the same one."""
    return seen.pid is not None and _seen(seen.pid) == seen


def _seen(pid: int) -> Seen | None:
    """The identity of a process that lives: a number is used again, a number with its start and its boot is not."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if stat[0] in {"Z", "X"} else Seen(f"pid {pid} started {stat[19]} boot {boot}", pid)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(port: int) -> Iterator[int]:
    """Inodes of the sockets that listen on it, on any address of this host."""
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN and columns[1].endswith(wanted):
                yield int(columns[9])


def _visible() -> list[int]:
    try:
        if str((PROC / "self").readlink()) != str(os.getpid()):
            return []  # it shows another pid namespace than ours
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _holds(pid: int, inodes: set[int]) -> bool:
    links = {f"socket:[{inode}]" for inode in inodes}
    try:
        with os.scandir(PROC / str(pid) / "fd") as entries:
            return any(_target(entry.path) in links for entry in entries)
    except OSError:
        return False


def _target(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
