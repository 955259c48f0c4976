"""Which process a lease may name: one that is proven to be the caller's own, and of the same user as this proxy.

The proof is the kernel's. Over a unix socket it names the process that connected. Over TCP on this host the caller's
end of the connection is a socket with an inode, and the processes that have it open can be found under /proc. The
process that a lease names must be that one, or a descendant of it, as the child of blueprint-run is.

What is proven false is refused; what cannot be proven is not watched, and the lease says why. In doubt is a caller in
a pid namespace of its own (another container of a pod has our loopback but not our process numbers), on another host,
or whose /proc we may not read. Numbers of a namespace below ours (a container on the sidecar's host) are translated.

Everything here reads files and may take milliseconds: not for the event loop.
"""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from blueprint_proxy.inbound.peers import Credentials, PeerSocket, credentials, peer_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

PROC = Path("/proc")
MOST_ANCESTORS = 64
"""Generations looked through between a process and the one that started it: a job is a few below its launcher."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A proven process, pinned by `pidfd`: while that is open, the number cannot come to mean another process.

    `launched`: it is a descendant of the process that asked, which will learn its exit status and tell it.
    """

    pid: int
    pidfd: int
    launched: bool


@dataclass(frozen=True, slots=True)
class Unproven:
    """Nothing is watched. `why` is a sentence for the job's log."""

    why: str


class ForeignProcessError(Exception):
    """A lease names a process that is proven not to be the caller's. The message says so."""


class _Doubt(Exception):
    """It cannot be proven; the message is Unproven's."""


class _Found(NamedTuple):
    pid: int
    launched: bool


def prove(claimed: int, connection: socket.socket) -> Watched | Unproven:
    """The process that the caller at the other end of `connection` names, by its own numbering.

    ForeignProcessError for one that is another's. The pidfd is the taker's to close.
    """
    try:
        caller = _caller(connection)
        found = _find(claimed, caller)
        pidfd = _pin(found.pid, claimed)
    except _Doubt as doubt:
        return Unproven(str(doubt))
    try:
        # What was proven of a number is proven anew of the process that the pidfd pins.
        if _find(claimed, caller) == found and not _has_ended(pidfd):
            kept, pidfd = pidfd, -1
            return Watched(found.pid, kept, found.launched)
    except _Doubt as doubt:
        return Unproven(str(doubt))
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    return Unproven(f"process {claimed} has ended")


def ancestry(pid: int) -> Iterator[int]:
    """The process and the ones above it, as far as can be seen, up to MOST_ANCESTORS."""
    for _ in range(MOST_ANCESTORS):
        if pid <= 0:
            return
        yield pid
        try:
            stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])


def _caller(connection: socket.socket) -> Credentials | PeerSocket:
    """What the kernel says of the other end. Of TCP it is read once: the table takes milliseconds."""
    if not proc_is_ours():
        raise _Doubt("/proc shows another pid namespace than this proxy's")
    caller = credentials(connection) or peer_socket(connection)
    if caller is None:
        raise _Doubt("the caller is not on this host, or in another network namespace")
    return caller


def _find(claimed: int, caller: Credentials | PeerSocket) -> _Found:
    """What the claim means here; _Doubt or ForeignProcessError where it is not what it must be."""
    pids = [caller.pid] if isinstance(caller, Credentials) else _holders(caller.inode, claimed)
    callers = {pid: numbers for pid in pids if pid > 0 and (numbers := _numbers(pid))}
    if not callers:
        raise _Doubt("the caller's process cannot be seen from here: another pid namespace, or another user")
    pid = _translated(claimed, callers)
    if not any(one in callers for one in ancestry(pid)):
        raise ForeignProcessError(f"process {claimed} is neither the one that asks nor started by it")
    owner = _owner(pid)
    if owner is None:
        raise _Doubt(f"process {claimed} has ended")
    if owner != caller.uid:
        raise ForeignProcessError(f"process {claimed} belongs to another user than the one that asks")
    if os.geteuid() not in {0, owner}:
        raise _Doubt(f"process {claimed} belongs to another user than this proxy")
    return _Found(pid, pid not in callers)


def _translated(claimed: int, callers: dict[int, list[int]]) -> int:
    """The number by which we know the process that the callers call `claimed`; _Doubt where that is not known.

    `callers`: by our number, those of every namespace from ours down to their own.
    """
    depths = {len(numbers) for numbers in callers.values()}
    if 1 in depths:
        return claimed
    for pid in visible():
        numbers = _numbers(pid)
        if len(numbers) in depths and numbers[-1] == claimed and any(one in callers for one in ancestry(pid)):
            return pid
    raise _Doubt(f"process {claimed} is of another pid namespace and cannot be told from others")


def _holders(inode: int, claimed: int) -> list[int]:
    """The processes that have this socket open, as far as we may look; the likely ones are looked at first."""
    link = f"socket:[{inode}]"
    for pid in ancestry(claimed):
        if holds(pid, {link}):
            return [pid]
    return [pid for pid in visible() if holds(pid, {link})]


def holds(pid: int, links: AbstractSet[str]) -> bool:
    """Whether the process has one of these open, as far as we may look: `links` as /proc/PID/fd has them."""
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


def visible() -> list[int]:
    """The number of every process that /proc shows."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _numbers(pid: int) -> list[int]:
    """The process's numbers in each pid namespace, from ours down to its own; none where it cannot be seen."""
    return _status(pid, "NSpid:")


def _owner(pid: int) -> int | None:
    """The process's real user."""
    return next(iter(_status(pid, "Uid:")), None)


def _status(pid: int, key: str) -> list[int]:
    try:
        lines = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return next(([int(part) for part in line.split()[1:]] for line in lines if line.startswith(key)), [])


def proc_is_ours() -> bool:
    """Whether /proc shows the pid namespace of this proxy."""
    try:
        return str((PROC / "self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _pin(pid: int, claimed: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise _Doubt(f"process {claimed} cannot be watched: {error.strerror}") from error


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
