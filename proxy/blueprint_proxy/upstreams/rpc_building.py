"""From a gRPC upstream's settings to one that serves. The gRPC library is loaded by the first call, not here."""

from __future__ import annotations

import importlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, cast

from blueprint_proxy.layers.rpc_attempt import MakeRpcAttempt
from blueprint_proxy.pipeline import Pipelines
from blueprint_proxy.upstreams.grpc import GrpcKind
from blueprint_proxy.upstreams.rpc_upstream import RpcUpstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.config import UpstreamSettings
    from blueprint_proxy.outbound.channels import Channels
    from blueprint_proxy.outbound.pool import Pool
    from blueprint_proxy.secrets.credential import Credential
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.upstreams.building import Surroundings
    from blueprint_proxy.upstreams.grpc import RpcKind
    from blueprint_proxy.upstreams.kind import Kind
    from blueprint_proxy.upstreams.upstream import Upstream

RPC_KINDS: dict[str, RpcKind] = {"grpc": GrpcKind()}

_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

Pem = tuple[bytes | None, bytes | None, bytes | None]
"""Trusted roots, key and certificate chain; None where the library's own or nothing is meant."""


def build_rpc(
    settings: UpstreamSettings,
    around: Surroundings,
    earlier: Upstream | None,
    *,
    credential: Credential | None,
    drops_credentials: frozenset[bytes] | None,
) -> RpcUpstream:
    """OSError for a TLS file that cannot be used."""
    kind = RPC_KINDS[settings.kind]
    transport = RpcConnections(settings, around.sweep, pem_of(settings))
    pipelines = Pipelines(
        transport,
        kind=kind,
        telemetry=around.telemetry,
        sweep=around.sweep,
        credential=credential,
        links=None,
        resources=frozenset(),
        repeats_known=False,
        make_attempt=MakeRpcAttempt,
    )
    transport.in_use = lambda: pipelines.in_flight > 0
    return RpcUpstream(
        settings,
        cast("Kind", kind),
        pipelines,
        cast("Pool", transport),
        telemetry=around.telemetry,
        now=around.sweep.now,
        spool=around.spool,
        drops_credentials=drops_credentials,
        earlier=earlier,
    )


class RpcConnections:
    """The transport of a gRPC upstream, in the place of a Pool too: made by the first call, with the library it needs.

    `in_use`, set before the first call, says whether a call may still make another attempt.
    """

    def __init__(self, settings: UpstreamSettings, sweep: Sweep, pem: Pem | None) -> None:
        self._settings = settings
        self._sweep = sweep
        self._pem = pem
        self._transport: Next | None = None
        self._channels: Channels | None = None
        self.in_use: Callable[[], bool] = bool

    def __call__(self, call: Call) -> Awaitable[Reply]:
        return (self._transport or self._make())(call)

    @property
    def active(self) -> int:
        """Attempts under way: one connection carries all of them."""
        return 0 if self._channels is None else self._channels.active

    @property
    def idle(self) -> int:
        """Connections that stand while no attempt is under way."""
        return 0 if self._channels is None or self._channels.active else self._channels.open

    def close(self) -> None:
        """Closes when no call is left that may make another attempt."""
        if self._channels is not None:
            self._channels.close()

    def _make(self) -> Next:
        channels = importlib.import_module("blueprint_proxy.outbound.channels")
        transport = importlib.import_module("blueprint_proxy.outbound.grpc")
        operation = self._settings.for_operation("", "", "")
        url = self._settings.url
        made: Channels = channels.Channels(
            channels.target_of(url),
            self._pem,
            self._sweep,
            connect=operation.timeouts.connect,
            limit=operation.message_limit,
            authority=url.authority,
            in_use=self.in_use,
        )
        self._channels = made
        self._transport = cast("Next", transport.GrpcTransport(made, self._sweep))
        return self._transport


def pem_of(settings: UpstreamSettings) -> Pem | None:
    """The texts of a grpcs:// upstream's files, or the system's trust store; None for one in the clear."""
    if not settings.url.is_tls:
        return None
    files = settings.tls
    context = ssl.create_default_context(cafile=files.ca)  # says of a file that is none what the library would not
    if files.cert is not None:
        context.load_cert_chain(files.cert, files.key)
    roots = files.ca.read_bytes() if files.ca is not None else _system_roots()
    return (
        roots,
        files.key.read_bytes() if files.key is not None else None,
        files.cert.read_bytes() if files.cert is not None else None,
    )


def _system_roots() -> bytes | None:
    """The system's certificates, which the library does not look for; None leaves it to those it brings."""
    named = ssl.get_default_verify_paths().cafile
    for file in (*([named] if named else []), *_ROOTS):
        if Path(file).is_file():
            return Path(file).read_bytes()
    return None
