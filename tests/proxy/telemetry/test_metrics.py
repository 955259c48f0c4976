import pytest

from blueprint_proxy.telemetry import events
from blueprint_proxy.telemetry.metrics import (
    BOUNDS,
    COUNTED,
    MOST_UPSTREAMS,
    MOST_VALUES,
    UNCOUNTED,
    Metrics,
    UpstreamGauges,
)
from blueprint_proxy.telemetry.stream import Telemetry
from support.event_samples import a_sample


def call(upstream="gcs", operation="get", outcome="ok", duration=0.25, attempts=1, bytes_in=0, bytes_out=0):
    return events.CallFinished(
        upstream, operation, outcome, 200, None, attempts, duration, "r-1", "run-1", bytes_in, bytes_out, "upstream"
    )


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def metrics(telemetry):
    metrics = Metrics()
    metrics.attach(telemetry)
    return metrics


def test_calls_are_counted_by_upstream_operation_and_outcome(telemetry, metrics):
    for outcome in ("ok", "ok", "failed"):
        telemetry.emit(call(outcome=outcome, attempts=2, bytes_in=3, bytes_out=5))
    series = metrics.snapshot().series["gcs", "get"]
    assert dict(series.outcomes) == {"ok": 2, "failed": 1}
    assert (series.attempts, series.bytes_in, series.bytes_out) == (6, 9, 15)


@pytest.mark.parametrize(
    ("duration", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (1800.0, len(BOUNDS) - 1), (1800.1, len(BOUNDS))]
)
def test_a_duration_falls_into_the_first_bucket_whose_bound_it_does_not_pass(telemetry, metrics, duration, bucket):
    telemetry.emit(call(duration=duration))
    assert metrics.snapshot().series["gcs", "get"].buckets.index(1) == bucket


def test_operations_beyond_the_bound_are_counted_as_other(telemetry, metrics):
    for number in range(MOST_VALUES + 10):
        telemetry.emit(call(operation=f"op-{number}"))
    series = metrics.snapshot().series
    assert len(series) == MOST_VALUES + 1
    assert series["gcs", "other"].outcomes["ok"] == 10


def test_a_known_operation_keeps_its_name_after_the_bound_is_reached(telemetry, metrics):
    for number in range(MOST_VALUES + 10):
        telemetry.emit(call(operation=f"op-{number}"))
    telemetry.emit(call(operation="op-3"))
    assert metrics.snapshot().series["gcs", "op-3"].outcomes["ok"] == 2


def test_each_upstream_has_its_own_bound_of_operations(telemetry, metrics):
    for number in range(MOST_VALUES + 1):
        telemetry.emit(call(operation=f"op-{number}"))
    telemetry.emit(call(upstream="gemini", operation="generate"))
    assert ("gemini", "generate") in metrics.snapshot().series


def test_upstreams_beyond_the_bound_are_counted_as_other(telemetry, metrics):
    for number in range(MOST_UPSTREAMS + 5):
        telemetry.emit(call(upstream=f"up-{number}"))
    assert metrics.snapshot().series["other", "get"].outcomes["ok"] == 5


def test_words_of_rare_events_are_bounded_too(telemetry, metrics):
    for number in range(MOST_VALUES + 7):
        telemetry.emit(events.RetryAbandoned("gcs", "get", "r-1", 1, f"why-{number}"))
    assert metrics.snapshot().counts["retries_abandoned"]["gcs", "other"] == 7


def test_an_operation_has_one_bound_across_calls_and_retries(telemetry, metrics):
    for number in range(MOST_VALUES):
        telemetry.emit(call(operation=f"op-{number}"))
    telemetry.emit(events.RetryScheduled("gcs", "op-new", "r-1", 1, 0.5, "503", None))
    assert metrics.snapshot().counts["retries"] == {("gcs", "other"): 1}


def test_a_loaded_and_a_rejected_configuration_are_one_metric_with_two_results(telemetry, metrics):
    telemetry.emit(events.ConfigurationLoaded("a.yaml"))
    telemetry.emit(events.ConfigurationRejected(("line 1: no",)))
    telemetry.emit(events.ConfigurationRejected(("line 1: no",)))
    assert metrics.snapshot().counts["config_reloads"] == {("ok",): 1, ("rejected",): 2}


def test_the_rate_is_the_last_one_set(telemetry, metrics):
    telemetry.emit(events.RateChanged("gemini", 4.0, 0.0))
    telemetry.emit(events.RateChanged("gemini", 2.0, 1.0))
    assert metrics.snapshot().rates == {"gemini": 2.0}


def test_every_event_is_counted_or_has_a_reason_not_to_be():
    counted = {row.event for row in COUNTED} | {events.CallFinished}
    assert counted | set(UNCOUNTED) == set(events.ALL)
    assert not counted & set(UNCOUNTED)
    assert all(UNCOUNTED.values())


def test_every_counted_event_moves_its_counter(telemetry, metrics):
    for row in COUNTED:
        telemetry.emit(a_sample(row.event))
    counts = metrics.snapshot().counts
    assert [row.metric for row in COUNTED if not sum(counts[row.metric].values())] == []


def test_what_an_event_counts_by_itself_is_added_whole(telemetry, metrics):
    telemetry.emit(events.CallLogDropped(7))
    telemetry.emit(events.CallLogDropped(5))
    assert metrics.snapshot().counts["call_log_dropped"] == {(): 12}


def test_no_metric_is_labelled_with_a_run_a_request_or_a_message():
    labels = {label for row in COUNTED for label in row.labels}
    assert labels.isdisjoint({"run", "request_id", "message", "source", "problems", "secret_id", "address"})


def test_two_rows_of_one_metric_have_the_same_labels():
    shapes = {}
    for row in COUNTED:
        shape = (row.documentation, row.labels, tuple(name for name, _ in row.fixed))
        assert shapes.setdefault(row.metric, shape) == shape


def test_a_snapshot_does_not_change_with_later_calls(telemetry, metrics):
    telemetry.emit(call())
    telemetry.emit(events.SpoolFailed("disk full"))
    before = metrics.snapshot()
    telemetry.emit(call())
    telemetry.emit(events.SpoolFailed("disk full"))
    assert before.series["gcs", "get"].outcomes["ok"] == 1
    assert sum(before.series["gcs", "get"].buckets) == 1
    assert before.counts["spool_failures"] == {(): 1}


def test_gauges_are_asked_at_each_snapshot():
    gauge = UpstreamGauges("gcs", {"": "closed"}, 1, 0, 2, 1)
    answers = iter([[gauge], []])
    metrics = Metrics(lambda: next(answers))
    assert metrics.snapshot().upstreams == [gauge]
    assert metrics.snapshot().upstreams == []
