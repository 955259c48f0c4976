from __future__ import annotations

import pytest

from blueprint_proxy.config import Secret, load
from blueprint_proxy.overview import Overview
from blueprint_proxy.policies.breaker import Breaker, Outcome
from blueprint_proxy.telemetry.exposition import Exposition
from blueprint_proxy.telemetry.metrics import Metrics


class FakePipelines:
    in_flight = 3


class FakePool:
    idle = 2
    active = 1


def a_breaker():
    return Breaker(
        window=30.0,
        min_calls=20,
        failure_ratio=0.5,
        slow_call=None,
        slow_ratio=0.9,
        consecutive=1,
        age=None,
        open_for=5.0,
        open_cap=60.0,
        probes=1,
        probe_lease=30.0,
    )


class FakeUpstream:
    """An upstream with two breakers, made from real settings."""

    queued = 4

    def __init__(self, settings):
        self.settings = settings
        self.name = settings.name
        self.pipelines = FakePipelines()
        self.pool = FakePool()
        self._breakers = {owner: a_breaker() for owner in ("", "objects.*")}

    def breakers(self):
        return self._breakers


@pytest.fixture
def config():
    return load(None, {})


@pytest.fixture
def upstreams(config):
    return {b"gcs": FakeUpstream(config.upstreams["gcs"]), b"gemini": FakeUpstream(config.upstreams["gemini"])}


@pytest.fixture
def overview(config, upstreams):
    return Overview(config, upstreams, lambda: 1000.0)


def states(overview, name):
    (shown,) = (each for each in overview.upstreams() if each.name == name)
    return {breaker.owner: breaker.state for breaker in shown.breakers}


def test_it_is_ready_while_the_listeners_are_up(overview):
    assert not overview.ready()
    overview.listening = True
    assert overview.ready()


def test_upstreams_are_shown_with_what_is_under_way(overview):
    shown = overview.upstreams()
    assert [each.name for each in shown] == ["gcs", "gemini"]
    assert (shown[0].kind, shown[0].url, shown[0].mode) == ("gcs", "https://storage.googleapis.com", "enforce")
    assert (shown[0].in_flight, shown[0].queued) == (3, 4)
    assert (shown[0].connections.idle, shown[0].connections.active) == (2, 1)


def test_the_mapping_is_looked_at_anew_each_time(overview, upstreams):
    del upstreams[b"gcs"]
    assert [each.name for each in overview.upstreams()] == ["gemini"]
    assert [each.name for each in overview.gauges()] == ["gemini"]


def test_an_open_breaker_says_in_how_many_seconds_it_is_tried_again(overview, upstreams):
    breaker = upstreams[b"gcs"].breakers()[""]
    breaker.settle(breaker.admit(998.0), 998.0, Outcome.FAILURE)
    (opened, closed) = overview.upstreams()[0].breakers
    assert (opened.state, opened.retry_after) == ("open", 3.0)
    assert (closed.state, closed.retry_after) == ("closed", None)


def test_an_order_without_an_owner_is_for_every_breaker_of_the_upstream(overview):
    overview.breaker_action("gcs", None, "force_open")
    assert states(overview, "gcs") == {"": "forced_open", "objects.*": "forced_open"}
    assert states(overview, "gemini") == {"": "closed", "objects.*": "closed"}


def test_an_order_may_be_for_one_breaker_alone(overview):
    overview.breaker_action("gcs", "objects.*", "disable")
    assert states(overview, "gcs") == {"": "closed", "objects.*": "disabled"}
    overview.breaker_action("gcs", "objects.*", "reset")
    assert states(overview, "gcs") == {"": "closed", "objects.*": "closed"}


@pytest.mark.parametrize("order", [("nobody", None), ("gcs", "no.such"), ("g\udc80", None)])
def test_an_order_to_a_breaker_that_is_not_there_is_a_lookup_error(overview, order):
    with pytest.raises(LookupError):
        overview.breaker_action(*order, "reset")


def test_the_metrics_hold_the_gauges_of_each_upstream(overview):
    overview.exposition = Exposition(Metrics(overview.gauges))
    page = overview.metrics("").render().decode()
    assert 'upstream="gcs"' in page
    assert "objects.*" in page


def test_metrics_before_there_are_any_are_a_defect(overview):
    with pytest.raises(RuntimeError, match="before they exist"):
        overview.metrics("")


def test_the_host_of_the_admin_listener_is_allowed(tmp_path):
    file = tmp_path / "proxy.yaml"
    file.write_text("listen: {admin: 'LocalHost:1'}")
    assert Overview(load(file, {}), {}, lambda: 0.0).allowed_hosts == {"localhost"}


def test_the_configuration_shown_is_the_one_in_force(overview, tmp_path):
    file = tmp_path / "proxy.yaml"
    file.write_text("drain: {grace: 7s}")
    overview.configuration = load(file, {})
    assert overview.config()["drain"] == {"grace": "7s"}


def test_the_operators_token_is_for_the_gate_and_in_no_repr(overview):
    assert overview.operator_token() is None
    overview.token = Secret("operators-token")
    assert overview.operator_token() == "operators-token"
    assert "operators-token" not in repr(overview) + str(vars(overview))
