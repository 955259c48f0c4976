"""Whether the job at the other end of a half-closed connection is still there.

A FIN says only that the job will send no more. On this host the kernel knows the rest: the other end's socket belongs to a
process, or to nobody any more.
"""

from __future__ import annotations

import ipaddress
import select
import socket
from pathlib import Path

_TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}


def is_gone(connection: socket.socket) -> bool:
    """True when it is certain that nobody reads at the other end any more; False when somebody does, or it is not known."""
    if connection.family == socket.AF_UNIX:
        poll = select.poll()
        poll.register(connection.fileno(), 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))
    table = _TABLES.get(connection.family)
    if table is None or not table.exists():
        return False
    try:
        here, there = connection.getsockname(), connection.getpeername()
    except OSError:
        return True
    if not ipaddress.ip_address(there[0].partition("%")[0]).is_loopback:
        return False
    ends = f"{_hexadecimal(there)} {_hexadecimal(here)}"
    for line in table.read_text().splitlines():
        if ends in line:
            return line.split()[9] == "0"  # the socket's inode: none, when no process holds it
    return True


def _hexadecimal(address: tuple[str, int]) -> str:
    """An address as /proc/net/tcp writes it: 32-bit words in the machine's order, then the port."""
    packed = ipaddress.ip_address(address[0].partition("%")[0]).packed
    words = (packed[at : at + 4][::-1] for at in range(0, len(packed), 4))
    return f"{b''.join(words).hex().upper()}:{address[1]:04X}"
