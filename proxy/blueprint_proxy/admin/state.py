"""What the admin API shows, and what it asks of the rest of the process.

Imports no FastAPI, so that the composition root can build these before it loads the admin application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Collection

    from blueprint_proxy.telemetry.exposition import Page

Action = Literal["reset", "force_open", "disable"]


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BreakerShown(_Shown):
    """A breaker. `owner` is the operation it guards, "" for the whole upstream; `retry_after` is in seconds."""

    owner: str
    state: str
    retry_after: float | None = None


class ConnectionsShown(_Shown):
    """Connections open to the upstream."""

    idle: int
    active: int


class UpstreamShown(_Shown):
    """An upstream and what it is doing. `url` loses userinfo, query and fragment, where a credential could stand."""

    name: str
    kind: str
    url: str
    mode: str
    breakers: list[BreakerShown]
    in_flight: int
    queued: int
    connections: ConnectionsShown

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: str) -> str:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class BreakerOrder(_Shown):
    """What an operator wants of a breaker; without `owner`, of every breaker of the upstream."""

    action: Action
    owner: str | None = Field(default=None, max_length=256)


class AdminState(Protocol):
    """What the admin application needs. Every method is called on the event loop and must not wait."""

    @property
    def allowed_hosts(self) -> Collection[str]:
        """Host names (no ports, lower case, IPv6 without brackets) accepted in Host beside the loopback names."""

    def ready(self) -> bool:
        """Say whether the data listeners are up and the process is not draining."""

    def metrics(self, accept: str) -> Page:
        """Copy the numbers; the page's `render` is run in a thread. `accept` is the request's field, or ""."""

    def upstreams(self) -> list[UpstreamShown]:
        """Every upstream, in the configuration's order."""

    def config(self) -> dict[str, object]:
        """Give the configuration in force as JSON's own types, redacted."""

    def operator_token(self) -> str | None:
        """Give the operators' token, or None where none is configured."""

    def breaker_action(self, name: str, owner: str | None, action: Action) -> None:
        """Act on one breaker, or on all of an upstream. LookupError when there is no such upstream or owner."""
