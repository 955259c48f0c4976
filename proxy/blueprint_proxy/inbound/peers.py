"""Who is at the other end of a connection, and whether anybody still is.

A FIN says only that the job will send no more. On this host the kernel knows the rest: the other end's socket belongs
to a process, or to nobody any more.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
from pathlib import Path
from typing import NamedTuple

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_gone(connection: socket.socket) -> bool:
    """True when it is certain that nobody reads at the other end any more.

    False when somebody does, or when it is not known: the other end is on another host, or this system has no such
    table.
    """
    if connection.family == socket.AF_UNIX:
        poll = select.poll()
        poll.register(connection.fileno(), 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    try:
        here, there = connection.getsockname(), connection.getpeername()
    except OSError:
        return True
    here, there = (_plain(here[0]), here[1]), (_plain(there[0]), there[1])
    if not there[0].is_loopback:
        return False
    # A table changes while it is read and a line may be missed: only a second look makes sure.
    return not _has_reader(here, there) and not _has_reader(here, there)


class Credentials(NamedTuple):
    """The process that connected to a unix socket, and its user, as the kernel saw them then.

    `pid` is 0 for a process of a pid namespace that we cannot see into.
    """

    pid: int
    uid: int


def credentials(connection: socket.socket) -> Credentials | None:
    """The process at the other end of a unix socket; None for any other sort of socket."""
    if connection.family != socket.AF_UNIX:
        return None
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    pid, uid, _ = struct.unpack("3i", packed)
    return Credentials(pid, uid)


class PeerSocket(NamedTuple):
    """The other end of a TCP connection on this host: the socket's inode, and the user who made it."""

    inode: int
    uid: int


def peer_socket(connection: socket.socket) -> PeerSocket | None:
    """The other end's socket, where it is on this host and a process has it; else None. Reads the kernel's tables."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    try:
        here, there = connection.getsockname(), connection.getpeername()
    except OSError:
        return None
    ends = _spellings((_plain(there[0]), there[1]), (_plain(here[0]), here[1]))
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            if any(spelling in line for spelling in ends):
                columns = line.split()
                return PeerSocket(int(columns[9]), int(columns[7])) if columns[9] != "0" else None
    return None


_Address = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def _has_reader(here: _Address, there: _Address) -> bool:
    """Whether a process has the socket at `there`, or the tables do not say, as where our own end is missing too."""
    own = theirs = False
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        ours, ends = _spellings(here, there), _spellings(there, here)
        for line in lines:
            if any(spelling in line for spelling in ends):
                theirs = theirs or line.split()[9] != "0"  # the socket's inode: none, when no process holds it
            elif not own:
                own = any(spelling in line for spelling in ours)
    return theirs or not own


def _spellings(local: _Address, remote: _Address) -> list[str]:
    """The two addresses of a connection as a table writes them: an IPv4 one also as a dual-stack socket has it."""
    spellings = [f" {_hexadecimal(*local)} {_hexadecimal(*remote)} "]
    if local[0].version == 4 and remote[0].version == 4:
        mapped = "0" * 16 + "FFFF0000"
        spellings.append(f" {mapped}{_hexadecimal(*local)} {mapped}{_hexadecimal(*remote)} ")
    return spellings


def _hexadecimal(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    """An address as /proc/net/tcp writes it: 32-bit words in the machine's order, then the port."""
    packed = address.packed
    words = (packed[at : at + 4][::-1] for at in range(0, len(packed), 4))
    return f"{b''.join(words).hex().upper()}:{port:04X}"


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Without its scope, and an IPv4 address that a dual-stack socket shows as what it is."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    return plain.ipv4_mapped or plain if isinstance(plain, ipaddress.IPv6Address) else plain
