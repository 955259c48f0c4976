"""Plain numbers, counted on the event loop and read at scrape by exposition.py.

A call costs one dict lookup and a few additions here (under 1 us with making its event), where prometheus-client's
cached children cost 3.5 us and its `labels()` 12 us. Only the loop's thread may touch these numbers; `snapshot()`
copies them for the thread that renders. Every label is bounded: what would pass a bound is counted as "other".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from blueprint_proxy.telemetry import events
from blueprint_proxy.telemetry.events import CallFinished, RateChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from blueprint_proxy.telemetry.stream import Telemetry

BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
)  # fmt: skip
"""Upper bounds, in seconds, of the duration buckets: from a local object read to a half-hour simulation call."""

OTHER = "other"
MOST_VALUES = 64
"""Values that one label may take within an upstream."""
MOST_UPSTREAMS = 256
"""Upstreams come from the configuration; this only bounds what reloads can add up to."""


@dataclass(frozen=True, slots=True)
class UpstreamGauges:
    """What an upstream is doing now. `breakers`: the state of each by owner ("" guards the whole upstream)."""

    name: str
    breakers: Mapping[str, str]
    in_flight: int
    queued: int
    idle_connections: int
    active_connections: int


class Counted(NamedTuple):
    """A counter: one per event of a type, by labels that are the event's attributes, plus fixed ones.

    `amount` names the attribute that is added instead of one.
    """

    metric: str
    documentation: str
    event: type[Any]
    labels: tuple[str, ...]
    fixed: tuple[tuple[str, str], ...] = ()
    amount: str | None = None


COUNTED = (
    Counted("attempts_failed", "Tries without a good reply.", events.AttemptFailed, ("upstream", "fault")),
    Counted("retries", "Tries repeated after a failed one.", events.RetryScheduled, ("upstream", "operation")),
    Counted("retries_abandoned", "Failed tries not repeated.", events.RetryAbandoned, ("upstream", "why")),
    Counted("refusals", "Calls that this proxy answered itself.", events.CallRefused, ("upstream", "reason")),
    Counted("would_have", "What enforce would have done.", events.WouldHave, ("upstream", "what")),
    Counted("breaker_changes", "Breaker changes, by new state.", events.BreakerChanged, ("upstream", "owner", "new")),
    Counted("bodies_not_replayable", "Bodies not kept.", events.BodyNotReplayable, ("upstream", "why")),
    Counted("rate_changes", "Times an upstream's rate moved.", events.RateChanged, ("upstream",)),
    Counted("repeats_recognised", "SDK repeats answered at once.", events.RepeatRecognised, ("upstream",)),
    Counted("truncated", "Replies cut short by the upstream.", events.ReplyTruncated, ("upstream",)),
    Counted("bad_requests", "Requests that were not acceptable HTTP.", events.BadRequest, ("peer", "status")),
    Counted("credentials_missing", "Credentials not found.", events.CredentialMissing, ("upstream",)),
    Counted("runs_started", "Leases given.", events.RunStarted, ("watched",)),
    Counted("runs_ended", "Runs that ended, by what ended them.", events.RunEnded, ("why", "outcome")),
    Counted("runs_refused", "Leases not given.", events.RunRefused, ("why",)),
    Counted("runs_unknown", "Lease ids named in calls and not live.", events.RunUnknown, ()),
    Counted("credentials_rejected", "Our credentials not taken.", events.CredentialRejected, ("upstream", "outcome")),
    Counted("secrets_missing", "Times that secrets were in none of their places.", events.SecretsMissing, ()),
    Counted("secrets_kept", "Times that last good values had to stay in use.", events.SecretsKept, ()),
    Counted("secrets_fallbacks", "Times that secrets came from a later place.", events.SecretsFellBack, ()),
    Counted("secrets_changed", "Secrets that changed.", events.SecretChanged, ()),
    Counted("secrets_handed_out", "Secrets read by jobs.", events.SecretHandedOut, ()),
    Counted("call_log_failures", "Times that the call log stopped being written.", events.CallLogFailed, ()),
    Counted("call_log_dropped", "Calls missing from the call log.", events.CallLogDropped, (), amount="count"),
    Counted("spool_failures", "Failures of the request spool.", events.SpoolFailed, ()),
    Counted("calls_joined", "Repeats that took over a call.", events.CallJoined, ("upstream", "operation", "how")),
    Counted("app_errors", "Errors inside of an OK.", events.AppErrorSeen, ("upstream", "operation")),
    Counted("simulator_changes", "Phases that began.", events.SimulatorChanged, ("upstream", "new")),
    Counted("simulator_hangs", "Calls older than they may be.", events.SimulatorHung, ("upstream", "operation")),
    Counted("simulator_restarts", "Restarts, by outcome.", events.SimulatorRestarted, ("upstream", "outcome")),
    Counted("calls_quarantined", "Calls not sent any more.", events.CallQuarantined, ("upstream", "operation")),
    Counted("config_reloads", "Loads, by result.", events.ConfigurationLoaded, (), (("result", "ok"),)),
    Counted("config_reloads", "Loads, by result.", events.ConfigurationRejected, (), (("result", "rejected"),)),
)
"""Counters made from events. One that appears twice has the same labels each time."""

UNCOUNTED: dict[type[Any], str] = {
    events.SecretsLoaded: "once at start; that some are missing is counted by its own event",
    events.SecretManagerUnused: "once at start, a fact of the configuration",
    events.NotHardened: "once at start, a fact of the host",
    events.Listening: "once at start; a scrape that is answered says as much",
    events.Draining: "nobody scrapes what is about to end; /readyz says it",
    events.Stopped: "nothing is left to be scraped",
}
"""Events without a counter, and why."""


class Series:
    """What is counted of the calls of one (upstream, operation). Sums are in seconds and bytes."""

    __slots__ = ("attempts", "buckets", "bytes_in", "bytes_out", "duration", "outcomes")

    def __init__(self) -> None:
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.buckets = [0] * (len(BOUNDS) + 1)  # the last one is beyond every bound
        self.duration = 0.0
        self.attempts = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def copy(self) -> Series:
        """Give a copy that no later call changes."""
        twin = Series()
        twin.outcomes, twin.buckets, twin.duration = self.outcomes.copy(), self.buckets.copy(), self.duration
        twin.attempts, twin.bytes_in, twin.bytes_out = self.attempts, self.bytes_in, self.bytes_out
        return twin


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every number at one moment. `series` by (upstream, operation), `counts` by metric and label values."""

    series: dict[tuple[str, str], Series]
    counts: dict[str, dict[tuple[str, ...], int]]
    rates: dict[str, float]
    upstreams: list[UpstreamGauges]


@dataclass(slots=True)
class BoundedLabels:
    """Lets the first values of a label pass, and calls all later ones "other"."""

    most: int = MOST_VALUES
    seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def bound(self, label: str, upstream: str, value: str) -> str:
        """Give `value`, or "other" when the label already has its fill of values within `upstream`."""
        values = self.seen.setdefault((label, upstream), set())
        if value in values:
            return value
        if len(values) >= self.most:
            return OTHER
        values.add(value)
        return value


class Metrics:
    """Counts events. `gauges` is asked at each snapshot, on the loop, for what is not an event."""

    def __init__(self, gauges: Callable[[], Iterable[UpstreamGauges]] = tuple) -> None:
        self.gauges = gauges
        self._series: dict[tuple[str, str], Series] = {}
        self._counts: dict[str, defaultdict[tuple[str, ...], int]] = {row.metric: defaultdict(int) for row in COUNTED}
        self._rates: dict[str, float] = {}
        self._labels = BoundedLabels()
        self._upstreams = BoundedLabels(MOST_UPSTREAMS)

    def attach(self, telemetry: Telemetry) -> None:
        """Subscribe to every event type that is counted."""
        telemetry.subscribe(self.call_finished, [CallFinished])
        telemetry.subscribe(self.rate_changed, [RateChanged])
        for row in COUNTED:
            telemetry.subscribe(self._counter(row), [row.event])

    def call_finished(self, event: CallFinished) -> None:
        """Count one call. The hot path: no allocation but the key."""
        upstream, operation, outcome, _, _, attempts, duration, _, _, bytes_in, bytes_out, _, _, _, _, _, _ = event
        try:
            series = self._series[upstream, operation]
        except KeyError:
            series = self._add_series(upstream, operation)
        series.outcomes[outcome] += 1
        series.buckets[bisect_left(BOUNDS, duration)] += 1
        series.duration += duration
        series.attempts += attempts
        series.bytes_in += bytes_in
        series.bytes_out += bytes_out

    def rate_changed(self, event: RateChanged) -> None:
        """Keep the rate last set, in requests per second."""
        if event.rate is not None:
            self._rates[self._upstream(event.upstream)] = event.rate

    def snapshot(self) -> Snapshot:
        """Copy every number. To be called on the loop's thread; what it gives may be read on any."""
        return Snapshot(
            series={key: series.copy() for key, series in self._series.items()},
            counts={metric: dict(counts) for metric, counts in self._counts.items()},
            rates=dict(self._rates),
            upstreams=list(self.gauges()),
        )

    def _upstream(self, name: str) -> str:
        return self._upstreams.bound("upstream", "", name)

    def _add_series(self, upstream: str, operation: str) -> Series:
        upstream = self._upstream(upstream)
        operation = self._labels.bound("operation", upstream, operation)
        return self._series.setdefault((upstream, operation), Series())

    def _counter(self, row: Counted) -> Callable[[Any], None]:
        counts, bound, fixed = self._counts[row.metric], self._labels.bound, tuple(value for _, value in row.fixed)

        def count(event: Any) -> None:
            upstream = self._upstream(getattr(event, "upstream", ""))
            values = [
                upstream if label == "upstream" else bound(label, upstream, str(getattr(event, label)))
                for label in row.labels
            ]
            counts[(*values, *fixed)] += 1 if row.amount is None else getattr(event, row.amount)

        return count
