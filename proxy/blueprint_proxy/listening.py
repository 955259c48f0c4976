"""Sockets that listen: bound, open at once, named by their real address, and gone at the end without a trace."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from blueprint_proxy.config import Address

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from blueprint_proxy.config import ListenerTls

BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted: a job's burst, not a queue to live from."""


class ListeningSocket:
    """A socket that listens on `address`; `what` names it in errors.

    It listens from the first moment, so that a second process fails here and not later, and who connects early waits
    instead of being refused. A unix socket is for this user alone (0600); its file replaces one that nobody serves any
    more, and is removed by `close`. OSError, with a sentence for the operator, when the address cannot be had.
    """

    def __init__(self, address: Address, what: str) -> None:
        self._file: tuple[Path, int] | None = None
        try:
            if address.unix is not None:
                self.socket = _bind_unix(address.unix)
                self._file = (Path(address.unix), Path(address.unix).stat().st_ino)
            else:
                self.socket = _bind_tcp(address)
        except OSError as error:
            raise OSError(f"{what} cannot bind {address}: {error.strerror or error}") from error
        self.address = address
        if address.unix is None:
            host, port = self.socket.getsockname()[:2]
            self.address = Address(host, port)

    def tls(self, context: ssl.SSLContext | None) -> ssl.SSLContext | None:
        """The context if it applies here: TLS is for addresses, a unix socket is for this user alone."""
        return None if self.address.unix is not None else context

    def close(self) -> None:
        """Stop listening. The file is left alone if another process has put its own socket there. Repeatable."""
        self.socket.close()
        if self._file is not None:
            path, inode = self._file
            self._file = None
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def authorities(address: Address) -> frozenset[bytes]:
    """The names of a listener's address that a client may write into an absolute-form target, in lower case."""
    if address.unix is not None:
        return frozenset()
    hosts = {address.host, "localhost", "127.0.0.1", "[::1]", socket.gethostname()}
    return frozenset(f"{host}:{address.port}".lower().encode("ascii", "replace") for host in hosts)


def tls_context(files: ListenerTls) -> ssl.SSLContext:
    """The listeners' TLS. OSError naming the files, when they cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(files.cert, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        paths = ", ".join(str(path) for path in (files.cert, files.key, files.client_ca) if path is not None)
        raise OSError(f"tls: {paths}: {error.strerror or error}") from error
    return context


def _bind_tcp(address: Address) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _bind_unix(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    try:
        remove_dead_socket(path)
        before = os.umask(0o177)
        try:
            bound.bind(path)
        finally:
            os.umask(before)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def remove_dead_socket(path: str) -> None:
    """Remove a socket file that nobody serves; OSError for one that is served, and for any other file."""
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file that is no socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except BlockingIOError:  # its queue is full: somebody serves it, slowly
            raise OSError(errno.EADDRINUSE, "another process serves this socket") from None
        else:
            raise OSError(errno.EADDRINUSE, "another process serves this socket")
