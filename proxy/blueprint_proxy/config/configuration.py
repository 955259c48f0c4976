"""Config: what the running proxy holds, resolved and frozen. It names the places of secrets, never their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config.policy_values import show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from blueprint_proxy.config.addresses import Address
    from blueprint_proxy.config.secret_places import CredentialSource, SecretSource
    from blueprint_proxy.config.upstream_settings import UpstreamSettings


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """The three listeners."""

    http: Address
    grpc: Address
    admin: Address


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """PEM files of the listeners' TLS."""

    cert: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """One side, operators or jobs. `token` None: open, on loopback and unix sockets only."""

    token: SecretSource | None


@dataclass(frozen=True, slots=True)
class JobsSettings(ScopeSettings):
    """The jobs' side. `secrets`: what jobs may read, by id (without a version)."""

    secrets: Mapping[str, CredentialSource] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """`grace` in seconds."""

    grace: float


@dataclass(frozen=True, slots=True)
class SecretsSettings:
    """Where credentials are looked up, in which order, and after how many seconds again."""

    order: tuple[str, ...]
    directory: Path
    refresh: float


@dataclass(frozen=True, slots=True)
class SecretManagerSettings:
    """Google Secret Manager. `project` None: none is known, and it is not asked.

    `endpoint` is HOST:PORT, None for Google's own; `insecure`: neither TLS nor credentials.
    """

    project: str | None = None
    endpoint: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. `source` is the file it came from, None for the built-in one."""

    listen: ListenSettings
    tls: ListenerTls | None
    admin: ScopeSettings
    jobs: JobsSettings
    state_dir: Path
    drain: DrainSettings
    secrets: SecretsSettings
    secret_manager: SecretManagerSettings
    upstreams: Mapping[str, UpstreamSettings]
    source: Path | None

    def redacted(self) -> dict[str, Any]:
        """Return the configuration in force as JSON values: secrets by their places, times and sizes as in the file."""
        tls = self.tls
        return {
            "source": None if self.source is None else str(self.source),
            "listen": {name: str(getattr(self.listen, name)) for name in ("http", "grpc", "admin")},
            "tls": None
            if tls is None
            else {
                "cert": str(tls.cert),
                "key": str(tls.key),
                "client_ca": None if tls.client_ca is None else str(tls.client_ca),
            },
            "admin": {"token": _place(self.admin.token)},
            "jobs": {"token": _place(self.jobs.token), "secrets": list(self.jobs.secrets)},
            "state_dir": str(self.state_dir),
            "drain": {"grace": show("deadline", self.drain.grace)},
            "secrets": {
                "order": list(self.secrets.order),
                "directory": str(self.secrets.directory),
                "refresh": show("deadline", self.secrets.refresh),
            },
            "secret_manager": {
                "project": self.secret_manager.project,
                "endpoint": self.secret_manager.endpoint,
                "insecure": self.secret_manager.insecure,
            },
            "upstreams": {name: _redacted_upstream(upstream) for name, upstream in self.upstreams.items()},
        }


def _place(source: SecretSource | None) -> str | None:
    return None if source is None else str(source)


def _redacted_upstream(upstream: UpstreamSettings) -> dict[str, Any]:
    own = {item.key: show(item.key, item.value) for item in upstream.own_values()}
    return {
        "kind": upstream.kind,
        "url": str(upstream.url),
        "served": upstream.served,
        "credential": _place(upstream.credential),
        "tls": {
            name: None if getattr(upstream.tls, name) is None else str(getattr(upstream.tls, name))
            for name in ("ca", "cert", "key")
        },
        "policies": own,
        "operations": {
            rule.pattern.text: {key: show(key, setting.value) for key, setting in rule.settings.items()}
            for rule in upstream.rules
            if rule.pattern is not None
        },
    }
