"""Whether the job at the other end of a half-closed connection is still there.

A FIN says only that the job will send no more. On this host the kernel knows the rest: the other end's socket belongs
to a process, or to nobody any more.
"""

from __future__ import annotations

import ipaddress
import select
import socket
from pathlib import Path

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
