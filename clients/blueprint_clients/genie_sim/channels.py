"""Channels to Genie Sim, or to the sidecar before it: one for each address, shared by all clients and threads.

A forked child makes its own, and neither uses nor closes the parent's: closing it would end the parent's connection.
gRPC itself asks that no other thread is inside a call while a process forks; with GRPC_ENABLE_FORK_SUPPORT=1 in the
environment it sees to that.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint_clients import forking
from blueprint_clients.genie_sim.messages import GrpcExtraMissing

if TYPE_CHECKING:
    from types import ModuleType

MESSAGE_LIMIT = 64 * 1024 * 1024
"""Bytes of a message, as the sidecar has it. gRPC's own 4 MiB is less than one camera's picture."""

RECONNECT_S = 0.5
"""The longest pause between two tries to connect; gRPC's own is 120 s. A sidecar that restarts is back within 1 s."""

OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # the least time that a connection has for being made
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_S * 1000)),
    ("grpc.service_config_disable_resolution", 1),  # retries are the sidecar's: none from a name server's settings
    ("grpc.enable_http_proxy", 0),  # http_proxy in the environment is not for these addresses
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, not the one of the job's own stubs
)

Metadata = tuple[tuple[str, str], ...]


def grpc_library() -> ModuleType:
    """Import grpc. Raises GrpcExtraMissing where it is not installed."""
    try:
        import grpc  # noqa: PLC0415 -- an extra, and a heavy one: for jobs that call Genie Sim by these methods
    except ImportError as missing:
        raise GrpcExtraMissing(
            "Genie Sim's methods need grpcio, which is not installed here: pip install 'blueprint-clients[grpc]'"
        ) from missing
    return grpc


class Line:
    """A channel to HOST:PORT or unix:/PATH that is made at the first call and connects again by itself."""

    def __init__(self, target: str, *, tls: bool = False) -> None:
        self.target = target
        self._tls = tls
        self._making = threading.Lock()
        self._channel: Any = None
        self._methods: dict[str, Any] = {}
        self._inherited: list[Any] = []
        forking.watch(self)

    def method(self, path: str) -> Any:
        """Give the grpc.UnaryUnaryMultiCallable of a method; bytes in, bytes out."""
        found = self._methods.get(path)
        if found is None:
            with self._making:
                found = self._methods[path] = self._made().unary_unary(path)
        return found

    def connects_within(self, seconds: float) -> bool:
        """Wait until the channel stands; whether it does."""
        grpc = grpc_library()
        with self._making:
            channel = self._made()
        ready = grpc.channel_ready_future(channel)
        try:
            ready.result(timeout=max(0.0, seconds))
        except grpc.FutureTimeoutError:
            return False
        finally:
            ready.cancel()
        return True

    def close(self) -> None:
        """End the connection; calls in flight end as CANCELLED, and the next call makes a new one."""
        with self._making:
            channel, self._channel, self._methods = self._channel, None, {}
        if channel is not None:
            channel.close()

    def after_fork_in_child(self) -> None:
        """Begin without a channel. The parent's is kept, since letting go of it would shut its connection down."""
        self._inherited.append((self._channel, self._methods))
        self._making = threading.Lock()
        self._channel = None
        self._methods = {}

    def _made(self) -> Any:
        """Give the channel; whoever asks holds the lock."""
        if self._channel is None:
            grpc = grpc_library()
            if self._tls:
                self._channel = grpc.secure_channel(self.target, _credentials(grpc), options=OPTIONS)
            else:
                self._channel = grpc.insecure_channel(self.target, options=OPTIONS)
        return self._channel


_lines: dict[tuple[str, bool], Line] = {}


def line_to(target: str, *, tls: bool = False) -> Line:
    """Give this process's line to an address."""
    return _lines.get((target, tls)) or _lines.setdefault((target, tls), Line(target, tls=tls))


def _credentials(grpc: ModuleType) -> Any:
    """Trust what Python's own TLS trusts, SSL_CERT_FILE included, as on the way to the sidecar's admin address."""
    trusted = ssl.get_default_verify_paths().cafile
    return grpc.ssl_channel_credentials(root_certificates=Path(trusted).read_bytes() if trusted else None)
