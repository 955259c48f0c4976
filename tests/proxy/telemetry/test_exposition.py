import subprocess
import sys
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from blueprint_proxy.policies.breaker import State
from blueprint_proxy.telemetry import events
from blueprint_proxy.telemetry.exposition import BREAKER_STATES, Exposition
from blueprint_proxy.telemetry.metrics import Metrics, UpstreamGauges
from blueprint_proxy.telemetry.stream import Telemetry

GAUGES = UpstreamGauges("gcs", {"": "closed", "upload": "open"}, 3, 4, 5, 6)


@pytest.fixture
def page():
    telemetry, metrics = Telemetry(), Metrics(lambda: [GAUGES])
    metrics.attach(telemetry)
    for duration in (0.002, 0.25, 4000.0):
        telemetry.emit(
            events.CallFinished("gcs", "get", "ok", 200, None, 2, duration, "r-1", None, 10, 100, "upstream")
        )
    telemetry.emit(events.CallRefused("gcs", "get", "r-2", "breaker_open", 1.0))
    telemetry.emit(events.RateChanged("gcs", 2.5, 0.0))
    telemetry.emit(events.BadRequest("tcp", 400, "two hosts"))
    return Exposition(metrics).page


def samples(text, parse=prometheus):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def test_calls_attempts_and_bytes_are_counters(page):
    got = samples(page("").render().decode())
    by = (("operation", "get"), ("upstream", "gcs"))
    assert got["blueprint_proxy_calls_total", (("operation", "get"), ("outcome", "ok"), ("upstream", "gcs"))] == 3
    assert got["blueprint_proxy_attempts_total", by] == 6
    assert got["blueprint_proxy_bytes_total", (("direction", "in"), ("upstream", "gcs"))] == 30
    assert got["blueprint_proxy_bytes_total", (("direction", "out"), ("upstream", "gcs"))] == 300


def test_the_histogram_is_cumulative_and_its_count_is_its_last_bucket(page):
    got = samples(page("").render().decode())
    by = (("operation", "get"), ("upstream", "gcs"))

    def bucket(le):
        return got["blueprint_proxy_call_duration_seconds_bucket", (("le", le), *by)]

    assert [bucket(le) for le in ("0.001", "0.0025", "0.1", "0.25", "1800.0", "+Inf")] == [0, 1, 1, 2, 2, 3]
    assert got["blueprint_proxy_call_duration_seconds_count", by] == 3
    assert got["blueprint_proxy_call_duration_seconds_sum", by] == pytest.approx(4000.252)


def test_a_rare_event_is_a_counter_with_its_words(page):
    got = samples(page("").render().decode())
    assert got["blueprint_proxy_refusals_total", (("reason", "breaker_open"), ("upstream", "gcs"))] == 1
    assert got["blueprint_proxy_bad_requests_total", (("peer", "tcp"), ("status", "400"))] == 1


def test_a_breaker_has_one_in_its_state_and_nought_in_the_others(page):
    got = samples(page("").render().decode())
    for owner, state in (("", "closed"), ("upload", "open")):
        values = {
            word: got["blueprint_proxy_breaker_state", (("owner", owner), ("state", word), ("upstream", "gcs"))]
            for word in BREAKER_STATES
        }
        assert values == {word: float(word == state) for word in BREAKER_STATES}


def test_the_states_are_those_of_the_breaker():
    assert set(BREAKER_STATES) == {state.value for state in State}


def test_what_an_upstream_does_now_is_shown(page):
    got = samples(page("").render().decode())
    one = (("upstream", "gcs"),)
    assert got["blueprint_proxy_in_flight", one] == 3
    assert got["blueprint_proxy_queued", one] == 4
    assert got["blueprint_proxy_upstream_connections", (("state", "idle"), *one)] == 5
    assert got["blueprint_proxy_upstream_connections", (("state", "active"), *one)] == 6
    assert got["blueprint_proxy_rate_requests_per_second", one] == 2.5


def test_every_name_begins_with_the_products(page):
    assert all(name.startswith("blueprint_proxy_") for name, _ in samples(page("").render().decode()))


def test_openmetrics_is_given_when_asked_for_and_parses(page):
    answer = page("application/openmetrics-text; version=1.0.0")
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    text = answer.render().decode()
    assert text.endswith("# EOF\n")
    by = (("operation", "get"), ("outcome", "ok"), ("upstream", "gcs"))
    assert samples(text, openmetrics)["blueprint_proxy_calls_total", by] == 3


def test_plain_text_is_given_to_who_asks_for_nothing(page):
    assert page("").content_type.startswith("text/plain; version=0.0.4")


def test_a_page_renders_in_another_thread_what_was_counted_before():
    telemetry, metrics = Telemetry(), Metrics()
    metrics.attach(telemetry)
    page = Exposition(metrics).page("")
    telemetry.emit(events.SpoolFailed("disk full"))
    got = []
    thread = threading.Thread(target=lambda: got.append(page.render().decode()))
    thread.start()
    thread.join()
    assert ("blueprint_proxy_spool_failures_total", ()) not in samples(got[0])


def test_counting_needs_no_prometheus_client():
    program = "import sys, blueprint_proxy.telemetry.metrics; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
