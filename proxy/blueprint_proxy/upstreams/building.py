"""From an upstream's settings to an Upstream that serves: its kind, its pool, its pipelines."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blueprint_proxy.outbound.http1 import Http1Transport
from blueprint_proxy.outbound.pool import Origin, Pool
from blueprint_proxy.pipeline import Pipelines
from blueprint_proxy.secrets.credential import Credential
from blueprint_proxy.upstreams.gcs import OBJECT_METADATA, GcsKind
from blueprint_proxy.upstreams.gemini import GeminiKind
from blueprint_proxy.upstreams.http import HttpKind
from blueprint_proxy.upstreams.links import Links
from blueprint_proxy.upstreams.rpc_building import RPC_KINDS, build_rpc
from blueprint_proxy.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from blueprint_proxy.config import UpstreamSettings
    from blueprint_proxy.secrets.store import SecretStore
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry
    from blueprint_proxy.upstreams.grpc import RpcKind
    from blueprint_proxy.upstreams.kind import Kind

KINDS: dict[str, Kind] = {
    "http": HttpKind(),
    "gcs": GcsKind(),
    "gemini": GeminiKind(),
    "particulate": HttpKind(),  # relayed as plain HTTP until its own issue
}
UNSERVED: Kind = HttpKind()
"""What is known of a kind without a module of its own: what HTTP's statuses mean."""
LINKED = frozenset({"gcs", "gemini"})
"""Kinds whose replies hold links that lead around the proxy."""
SAYS_REPEATS = frozenset({"gcs"})
"""Kinds whose SDK marks its own repeats of one call."""
ANSWER_ONLY = frozenset({"gemini", "particulate"})
"""Kinds whose functions may be run twice: both answer and change nothing, at the price of one more answer."""
IDLE_CAP = 256
"""Idle connections kept to one upstream: what the largest default concurrency leaves behind."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every upstream of this process shares."""

    telemetry: Telemetry
    sweep: Sweep
    spool: Path
    secrets: SecretStore


def build(settings: UpstreamSettings, around: Surroundings, earlier: Upstream | None = None) -> Upstream:
    """An upstream; OSError or ssl.SSLError for a TLS file that cannot be used.

    One of a kind that is not served yet has policies all the same: functions that call it are guarded by them.
    """
    if settings.kind in RPC_KINDS:
        rpc_kind = RPC_KINDS[settings.kind]
        return build_rpc(
            settings,
            around,
            earlier,
            credential=_credential(settings, rpc_kind, around),
            drops_credentials=_dropped(settings, rpc_kind),
        )
    kind = KINDS.get(settings.kind, UNSERVED)
    url = settings.url
    context = _tls(settings) if url.is_tls and settings.served else None
    pool = Pool(Origin(url.host, url.port, url.unix, context), around.sweep, cap=IDLE_CAP)
    authority, base_path = url.authority.encode("ascii"), url.base_path.encode("ascii")
    pipelines = Pipelines(
        Http1Transport(pool, authority=authority, base_path=base_path),
        kind=kind,
        telemetry=around.telemetry,
        sweep=around.sweep,
        credential=_credential(settings, kind, around),
        links=Links(authority, base_path) if settings.kind in LINKED else None,
        resources=OBJECT_METADATA if settings.kind == "gcs" else frozenset(),
        repeats_known=settings.kind in SAYS_REPEATS,
    )
    return Upstream(
        settings,
        kind,
        pipelines,
        pool,
        telemetry=around.telemetry,
        now=around.sweep.now,
        spool=around.spool,
        drops_credentials=_dropped(settings, kind),
        answers_only=settings.kind in ANSWER_ONLY,
        earlier=earlier,
    )


def _tls(settings: UpstreamSettings) -> ssl.SSLContext:
    files = settings.tls
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["http/1.1"])
    if files.cert is not None:
        context.load_cert_chain(files.cert, files.key)
    return context


def _credential(settings: UpstreamSettings, kind: Kind | RpcKind, around: Surroundings) -> Credential | None:
    source = settings.credential
    if source is None:
        return None
    return Credential(
        settings.name,
        around.secrets.held(source),
        source.header or kind.credential_header,
        store=around.secrets,
        emit=around.telemetry.emit,
    )


def _dropped(settings: UpstreamSettings, kind: Kind | RpcKind) -> frozenset[bytes] | None:
    """The fields in which a job could bring a credential of its own: the kind's, and the one that ours goes up in."""
    source = settings.credential
    if source is None:
        return None
    name, _ = source.header or kind.credential_header
    return kind.credential_fields | {name.encode("ascii")}
