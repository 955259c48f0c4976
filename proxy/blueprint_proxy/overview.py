"""What operators and Prometheus see of the running process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from blueprint_proxy import __version__
from blueprint_proxy.admin.state import (
    AddressesShown,
    AddressShown,
    BreakerShown,
    ConnectionsShown,
    SecretShown,
    UpstreamShown,
)
from blueprint_proxy.config import Address
from blueprint_proxy.config.addresses import RPC_KINDS, is_unspecified
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.secrets.store import SecretMissing
from blueprint_proxy.telemetry.metrics import UpstreamGauges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from blueprint_proxy.admin.event_streams import EventStreams
    from blueprint_proxy.admin.state import Action
    from blueprint_proxy.config import Config, Secret
    from blueprint_proxy.policies.breaker import Breaker
    from blueprint_proxy.secrets.store import SecretStore
    from blueprint_proxy.telemetry.exposition import Exposition, Page
    from blueprint_proxy.upstreams.upstream import Upstream

SECRET_WAIT = 20.0
"""Seconds that a job waits for a secret that is still being loaded: longer than a look at Secret Manager takes."""


class Overview:
    """The admin application's AdminState, and the gauges of the metrics. `upstreams` is the live mapping.

    `stop` begins to end the process, as SIGTERM does. `http` and `admin` are where the listeners really are, once they
    are open; `secrets` is None until the store of them is made.
    """

    def __init__(
        self,
        config: Config,
        upstreams: Mapping[bytes, Upstream],
        now: Callable[[], float],
        *,
        events: EventStreams,
        stop: Callable[[], None],
    ) -> None:
        self.configuration = config
        self.events = events
        self.http = config.listen.http
        self.admin = config.listen.admin
        self.grpc: Address | None = None
        self.listening = False
        self.token: Secret | None = None
        self.jobs_token: Secret | None = None
        self.secrets: SecretStore | None = None
        self.exposition: Exposition | None = None
        self._upstreams = upstreams
        self._now = now
        self._stop = stop
        self._drains = False

    @property
    def allowed_hosts(self) -> frozenset[str]:
        return frozenset({self.configuration.listen.admin.host.lower()})

    def ready(self) -> bool:
        return self.listening

    def metrics(self, accept: str) -> Page:
        if self.exposition is None:
            raise RuntimeError("the metrics are asked for before they exist")
        return self.exposition.page(accept)

    def gauges(self) -> Iterator[UpstreamGauges]:
        now = self._now()
        for upstream in self._upstreams.values():
            yield UpstreamGauges(
                upstream.name,
                {owner: breaker.state(now).value for owner, breaker in upstream.breakers().items()},
                upstream.pipelines.in_flight,
                upstream.queued,
                upstream.pool.idle,
                upstream.pool.active,
            )

    def upstreams(self) -> list[UpstreamShown]:
        now = self._now()
        return [
            UpstreamShown(
                name=upstream.name,
                kind=upstream.settings.kind,
                url=str(upstream.settings.url),
                mode=upstream.settings.for_operation("", "", "").mode,
                breakers=[
                    BreakerShown(
                        owner=owner, state=breaker.state(now).value, retry_after=breaker.open_left(now) or None
                    )
                    for owner, breaker in upstream.breakers().items()
                ],
                in_flight=upstream.pipelines.in_flight,
                queued=upstream.queued,
                connections=ConnectionsShown(idle=upstream.pool.idle, active=upstream.pool.active),
            )
            for upstream in self._upstreams.values()
        ]

    def config(self) -> dict[str, object]:
        return self.configuration.redacted()

    def operator_token(self) -> str | None:
        return None if self.token is None else self.token.reveal()

    def job_token(self) -> str | None:
        return None if self.jobs_token is None else self.jobs_token.reveal()

    def addresses(self, run: str | None = None, reached: str | None = None) -> AddressesShown:
        http, admin = _as_reached(self.http, reached), _as_reached(self.admin, reached)
        grpc = None if self.grpc is None else _as_reached(self.grpc, reached)
        secure = self.configuration.tls is not None
        calls = "http://localhost" if http.unix is not None else _url(http, secure=secure)
        under_grpc = None if grpc is None else str(grpc) if grpc.unix is not None else f"grpc{'s' * secure}://{grpc}"
        under = calls if run is None else f"{calls}/@{run}"
        return AddressesShown(
            version=__version__,
            http=_url(http, secure=secure),
            grpc=None if grpc is None else str(grpc),
            admin=_url(admin, secure=secure),
            upstreams={
                name: AddressShown(
                    kind=upstream.kind,
                    url=None
                    if not upstream.served
                    else under_grpc
                    if upstream.kind in RPC_KINDS
                    else f"{under}/{name}",
                    credential=upstream.credential is not None,
                    served=upstream.served,
                )
                for name, upstream in self.configuration.upstreams.items()
            },
        )

    def grace(self) -> float:
        return self.configuration.drain.grace

    async def drain(self) -> None:
        if not self._drains:
            self._drains = True
            self._stop()

    async def secret(self, secret_id: str) -> SecretShown:
        if self.secrets is None:
            raise RuntimeError("a secret is asked for before there is a store of them")
        try:
            async with asyncio.timeout(SECRET_WAIT):
                given = await self.secrets.for_job(secret_id)
        except (LookupError, SecretMissing) as missing:
            raise Refusal(Reason.FORBIDDEN, str(missing.args[0]), sent=False) from None
        except TimeoutError:
            raise Refusal(Reason.OVERLOADED, f"{secret_id} is not loaded yet", sent=False, retry_after=1.0) from None
        return SecretShown(id=secret_id, value=given.value.reveal(), version=given.version, source=given.source)

    def breaker_action(self, name: str, owner: str | None, action: Action) -> None:
        upstream = self._upstreams.get(name.encode("utf-8", "replace"))
        if upstream is None:
            raise LookupError(f"no upstream {name!r}")
        breakers = upstream.breakers()
        if owner is not None and owner not in breakers:
            raise LookupError(
                f"upstream {name!r} has no breaker of {owner!r}; it has: {', '.join(map(repr, breakers))}"
            )
        for breaker in breakers.values() if owner is None else [breakers[owner]]:
            _act(breaker, action, self._now())
        if action == "reset" and owner is None:
            upstream.forget_holds()


def _as_reached(address: Address, reached: str | None) -> Address:
    """Where the asker finds the listener: "every address" means the one that it has reached already."""
    if address.unix is None and reached is not None and is_unspecified(address.host):
        return Address(reached, address.port)
    return address.local


def _url(address: Address, *, secure: bool) -> str:
    return str(address) if address.unix is not None else f"http{'s' * secure}://{address}"


def _act(breaker: Breaker, action: Action, now: float) -> None:
    if action == "reset":
        breaker.reset(now)
    elif action == "force_open":
        breaker.force_open(now)
    else:
        breaker.disable(now)
