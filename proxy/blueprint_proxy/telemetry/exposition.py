"""The metrics as text for Prometheus and OpenMetrics scrapers. prometheus-client is imported only here (6.6 MiB)."""

from __future__ import annotations

import platform
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from blueprint_proxy import __version__
from blueprint_proxy.telemetry.metrics import BOUNDS, COUNTED, MOST_VALUES, Metrics, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PREFIX = "blueprint_proxy_"

BREAKER_STATES = ("closed", "open", "half_open", "forced_open", "disabled")
"""The label values of `blueprint_proxy_breaker_state`: the state that holds has 1, the others 0."""

_LE = (*map(str, BOUNDS), "+Inf")


class Page(NamedTuple):
    """A scrape's answer: `render` makes the body from numbers copied before, so it may run on any thread."""

    content_type: str
    render: Callable[[], bytes]


class Exposition:
    """Makes pages of a Metrics. `extra` collectors are read in the rendering thread."""

    def __init__(self, metrics: Metrics, *extra: Collector) -> None:
        self._metrics = metrics
        process = ProcessCollector(namespace=PREFIX.rstrip("_"), registry=None)
        self._extra: tuple[Collector, ...] = (process, *extra)

    def page(self, accept: str) -> Page:
        """Copy the numbers now (on the loop's thread). `accept` is the request's Accept field, or ""."""
        encode, content_type = choose_encoder(accept)
        collector = _SnapshotCollector(self._metrics.snapshot())

        def render() -> bytes:
            registry = CollectorRegistry()
            for part in (collector, *self._extra):
                registry.register(part)
            return encode(registry)

        return Page(content_type, render)


class _SnapshotCollector(Collector):
    """Gives one snapshot's numbers as metric families."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: the registry that asks serves one scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give every family once."""
        yield from self._calls()
        yield from self._events()
        yield from self._gauges()
        version, python = __version__, platform.python_version()
        yield _gauge("build_info", "The versions that run.", ("version", "python"), [((version, python), 1)])

    def _calls(self) -> Iterator[Metric]:
        series = self._snapshot.series.items()
        names = ("upstream", "operation")
        yield _counter(
            "calls",
            "Calls that ended, by outcome.",
            (*names, "outcome"),
            [((*key, outcome), count) for key, one in series for outcome, count in one.outcomes.items()],
        )
        yield _counter("attempts", "Tries made at upstreams.", names, [(key, one.attempts) for key, one in series])
        duration = HistogramMetricFamily(
            PREFIX + "call_duration_seconds", "From a call's head to its reply's last byte.", labels=names
        )
        for key, one in series:
            duration.add_metric(key, list(zip(_LE, accumulate(one.buckets), strict=True)), one.duration)
        yield duration
        sizes: dict[tuple[str, str], int] = {}
        for (upstream, _), one in series:
            for direction, size in (("in", one.bytes_in), ("out", one.bytes_out)):
                sizes[upstream, direction] = sizes.get((upstream, direction), 0) + size
        yield _counter("bytes", "Body bytes from (in) and to (out) the jobs.", ("upstream", "direction"), sizes.items())

    def _events(self) -> Iterator[Metric]:
        rows = {row.metric: row for row in COUNTED}  # two rows of one metric have the same labels
        for metric, row in rows.items():
            labels = (*row.labels, *(label for label, _ in row.fixed))
            yield _counter(metric, row.documentation, labels, self._snapshot.counts[metric].items())

    def _gauges(self) -> Iterator[Metric]:
        upstreams = self._snapshot.upstreams
        one = ("upstream",)
        yield _gauge("in_flight", "Calls under way.", one, [((up.name,), up.in_flight) for up in upstreams])
        yield _gauge("queued", "Calls that wait for a place.", one, [((up.name,), up.queued) for up in upstreams])
        yield _gauge(
            "upstream_connections",
            "Open connections to the upstream.",
            ("upstream", "state"),
            [
                ((up.name, state), count)
                for up in upstreams
                for state, count in (("active", up.active_connections), ("idle", up.idle_connections))
            ],
        )
        yield _gauge(
            "breaker_state",
            "1 for the state that the breaker is in.",
            ("upstream", "owner", "state"),
            [
                ((up.name, owner, word), int(word == state))
                for up in upstreams
                for owner, state in list(up.breakers.items())[:MOST_VALUES]
                for word in BREAKER_STATES
            ],
        )
        yield _gauge(
            "rate_requests_per_second",
            "The rate last set towards an upstream.",
            one,
            [((name,), rate) for name, rate in self._snapshot.rates.items()],
        )


def _counter(
    name: str, documentation: str, labels: Iterable[str], values: Iterable[tuple[Iterable[str], float]]
) -> Metric:
    family = CounterMetricFamily(PREFIX + name, documentation, labels=tuple(labels))
    for key, value in values:
        family.add_metric(tuple(key), value)
    return family


def _gauge(
    name: str, documentation: str, labels: Iterable[str], values: Iterable[tuple[Iterable[str], float]]
) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, documentation, labels=tuple(labels))
    for key, value in values:
        family.add_metric(tuple(key), value)
    return family
