"""What operators and Prometheus see of the running process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.admin.state import BreakerShown, ConnectionsShown, UpstreamShown
from blueprint_proxy.telemetry.metrics import UpstreamGauges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from blueprint_proxy.admin.state import Action
    from blueprint_proxy.config import Config, Secret
    from blueprint_proxy.policies.breaker import Breaker
    from blueprint_proxy.telemetry.exposition import Exposition, Page
    from blueprint_proxy.upstreams.upstream import Upstream


class Overview:
    """The admin application's AdminState, and the gauges of the metrics. `upstreams` is the live mapping."""

    def __init__(self, config: Config, upstreams: Mapping[bytes, Upstream], now: Callable[[], float]) -> None:
        self.configuration = config
        self.listening = False
        self.token: Secret | None = None
        self.exposition: Exposition | None = None
        self._upstreams = upstreams
        self._now = now

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


def _act(breaker: Breaker, action: Action, now: float) -> None:
    if action == "reset":
        breaker.reset(now)
    elif action == "force_open":
        breaker.force_open(now)
    else:
        breaker.disable(now)
