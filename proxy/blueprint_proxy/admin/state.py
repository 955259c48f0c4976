"""What the admin API shows, and what it asks of the rest of the process.

Imports no FastAPI, so that the composition root can build these before it loads the admin application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Collection

    from blueprint_proxy.admin.event_streams import EventStreams
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


class SlotShown(_Shown):
    """What is in a simulator's slot, for how many seconds; `orphaned`: its caller has left."""

    operation: str
    age_s: float
    orphaned: bool


class SimulatorShown(_Shown):
    """A simulator. `since_s`: seconds in this phase. `identity`: its process, by what tells it from the next one.

    `unknown`: why that cannot be told. `hung`: the call that it hangs in. `restart`: what starts it again, None where
    nothing is configured.
    """

    phase: str
    epoch: int
    since_s: float
    identity: str | None
    unknown: str | None
    slot: SlotShown | None
    hung: str | None
    restart: str | None


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
    simulator: SimulatorShown | None = None

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: str) -> str:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class BreakerOrder(_Shown):
    """What an operator wants of a breaker; without `owner`, of every breaker of the upstream."""

    action: Action
    owner: str | None = Field(default=None, max_length=256)


class AddressShown(_Shown):
    """Where a job finds one upstream. `url` None: it is not served. `credential`: the proxy adds one of its own."""

    kind: str
    url: str | None
    credential: bool
    served: bool


class AddressesShown(_Shown):
    """Where a job finds what. `http` and `admin` are http(s)://HOST:PORT or unix:/path; `grpc` is HOST:PORT or None.

    Over a unix socket the upstreams' urls name the host localhost.
    """

    version: str
    http: str
    grpc: str | None
    admin: str
    upstreams: dict[str, AddressShown]


class DrainOrder(_Shown):
    """The body of an order to drain: {}."""


class DrainShown(_Shown):
    """The proxy drains: no new calls, and those under way have `grace_s` seconds to end."""

    draining: bool
    grace_s: float


class SecretShown(_Shown):
    """A secret that jobs may read: its value, and where it was found."""

    id: str
    value: str = Field(repr=False)
    version: str | None = None
    source: str


class Alive(_Shown):
    """The event loop turns."""

    alive: bool


class Ready(_Shown):
    """Whether jobs may call: the listeners are up, and the proxy is not draining."""

    ready: bool


class ErrorTold(_Shown):
    """`code` is the HTTP status, `reason` a bounded word, `message` a sentence.

    The others are there where a guarded function was refused, as on the data plane; `retry_after_s` is in seconds.
    """

    code: int
    reason: str
    message: str
    status: str | None = None
    upstream: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None


class ErrorShown(_Shown):
    """Every error of this API."""

    error: ErrorTold


class AdminState(Protocol):
    """What the admin application needs. Every method is called on the event loop and must not wait."""

    events: EventStreams
    """What happens, for operators that listen."""

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

    def job_token(self) -> str | None:
        """Give the jobs' token, or None where none is configured."""

    def addresses(self, run: str | None = None, reached: str | None = None) -> AddressesShown:
        """Give the addresses that a job uses; with `run`, its urls name the run.

        `reached`: the address at which the asker reached the admin listener, in place of "every address" (0.0.0.0).
        """

    def grace(self) -> float:
        """Give the seconds that calls under way have once the proxy drains."""

    async def drain(self) -> None:
        """Begin to end, as SIGTERM does. A second time is not a second signal: nothing more happens."""

    async def secret(self, secret_id: str) -> SecretShown:
        """Give a secret that jobs may read. Refusal, of reason forbidden, for any other."""

    def breaker_action(self, name: str, owner: str | None, action: Action) -> None:
        """Act on one breaker, or on all of an upstream. LookupError when there is no such upstream or owner."""
