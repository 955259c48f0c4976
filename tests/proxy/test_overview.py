from __future__ import annotations

import asyncio

import pytest

from blueprint_proxy.admin.event_streams import EventStreams
from blueprint_proxy.config import Secret, load
from blueprint_proxy.config.addresses import parse_address
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.overview import Overview
from blueprint_proxy.policies.breaker import Breaker, Outcome
from blueprint_proxy.secrets.store import HandedOut, SecretMissing
from blueprint_proxy.telemetry.exposition import Exposition
from blueprint_proxy.telemetry.metrics import Metrics
from blueprint_proxy.telemetry.stream import Telemetry
from support.virtual_time import virtual_time


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
    return an_overview(config, upstreams)


def an_overview(config, upstreams, stop=lambda: None):
    return Overview(config, upstreams, lambda: 1000.0, events=EventStreams(Telemetry()), stop=stop)


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
    assert an_overview(load(file, {}), {}).allowed_hosts == {"localhost"}


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


def test_the_jobs_token_is_for_the_gate_and_in_no_repr(overview):
    assert overview.job_token() is None
    overview.jobs_token = Secret("jobs-token")
    assert overview.job_token() == "jobs-token"
    assert "jobs-token" not in repr(overview) + str(vars(overview))


def test_a_job_finds_each_upstream_under_its_name(overview):
    shown = overview.addresses()
    assert (shown.http, shown.grpc, shown.admin) == ("http://127.0.0.1:8900", None, "http://127.0.0.1:8901")
    gemini = shown.upstreams["gemini"]
    assert (gemini.kind, gemini.url, gemini.served) == ("gemini", "http://127.0.0.1:8900/gemini", True)


def test_an_upstream_that_is_not_served_has_no_url(overview):
    geniesim = overview.addresses().upstreams["geniesim"]
    assert (geniesim.url, geniesim.served) == (None, False)


def test_a_job_is_told_where_a_credential_is_added(overview):
    added = {name: shown.credential for name, shown in overview.addresses().upstreams.items()}
    assert (added["gemini"], added["particulate"]) == (True, False)


def test_a_runs_addresses_name_the_run(overview):
    assert overview.addresses(run="abc").upstreams["gcs"].url == "http://127.0.0.1:8900/@abc/gcs"


def test_the_real_address_of_a_listener_counts_and_not_the_configured_one(overview):
    overview.http = parse_address("127.0.0.1:45678")
    assert overview.addresses().http == "http://127.0.0.1:45678"


def test_over_a_unix_socket_the_urls_name_localhost(overview):
    overview.http, overview.admin = parse_address("unix:/run/http.sock"), parse_address("unix:/run/admin.sock")
    shown = overview.addresses()
    assert (shown.http, shown.admin) == ("unix:/run/http.sock", "unix:/run/admin.sock")
    assert shown.upstreams["gcs"].url == "http://localhost/gcs"


@pytest.mark.parametrize(
    ("listens", "reached", "told"),
    [
        ("0.0.0.0:8900", "10.1.2.3", "http://10.1.2.3:8900"),
        ("[::]:8900", "fd00::7", "http://[fd00::7]:8900"),
        ("0.0.0.0:8900", None, "http://127.0.0.1:8900"),
        ("127.0.0.1:8900", "10.1.2.3", "http://127.0.0.1:8900"),
    ],
)
def test_a_listener_on_every_address_is_told_as_the_asker_reached_the_other(overview, listens, reached, told):
    overview.http = parse_address(listens)
    assert overview.addresses(reached=reached).http == told


@pytest.mark.parametrize(
    ("listens", "told", "url"),
    [
        (None, None, None),
        ("127.0.0.1:50052", "127.0.0.1:50052", "grpc://127.0.0.1:50052"),
        ("unix:/run/g.sock", "unix:/run/g.sock", "unix:/run/g.sock"),
    ],
)
def test_the_grpc_address_is_told_once_the_listener_is_open(tmp_path, listens, told, url):
    file = tmp_path / "proxy.yaml"
    file.write_text("upstreams: {sim: {kind: grpc, url: 'grpc://h:1'}}")
    overview = an_overview(load(file, {}), {})
    overview.grpc = None if listens is None else parse_address(listens)
    shown = overview.addresses()
    assert (shown.grpc, shown.upstreams["sim"].url) == (told, url)


def test_with_tls_the_addresses_are_https(tmp_path):
    file = tmp_path / "proxy.yaml"
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    file.write_text(f"tls: {{cert: '{tmp_path}/cert.pem', key: '{tmp_path}/key.pem'}}")
    shown = an_overview(load(file, {}), {}).addresses()
    assert (shown.http, shown.upstreams["gcs"].url) == ("https://127.0.0.1:8900", "https://127.0.0.1:8900/gcs")


def test_an_order_to_drain_is_carried_out_once(config):
    stops = []
    overview = an_overview(config, {}, lambda: stops.append("stop"))
    for _ in range(3):
        asyncio.run(overview.drain())
    assert stops == ["stop"]
    assert overview.grace() == config.drain.grace


class Store:
    """Gives one secret to jobs; another is nowhere, and a third is not loaded yet."""

    async def for_job(self, name):
        if name == "nowhere":
            raise SecretMissing("nowhere is missing: looked in environment X")
        if name == "slow":
            await asyncio.Event().wait()
        if name != "for-jobs":
            raise LookupError(f"jobs may not read {name!r}: it is not in jobs.secrets")
        return HandedOut(Secret("hunter2"), "3", "secret_manager")


@virtual_time
async def test_a_secret_for_jobs_is_the_stores(overview):
    overview.secrets = Store()
    given = await overview.secret("for-jobs")
    assert (given.id, given.value, given.version, given.source) == ("for-jobs", "hunter2", "3", "secret_manager")
    assert "hunter2" not in repr(given)


@pytest.mark.parametrize(
    ("secret_id", "reason", "said"),
    [
        ("other", Reason.FORBIDDEN, "jobs may not read 'other': it is not in jobs.secrets"),
        ("nowhere", Reason.FORBIDDEN, "nowhere is missing: looked in environment X"),
        ("slow", Reason.OVERLOADED, "slow is not loaded yet"),
    ],
)
def test_a_secret_that_jobs_cannot_have_is_a_refusal_with_its_id(overview, secret_id, reason, said):
    @virtual_time
    async def asked():
        overview.secrets = Store()
        with pytest.raises(Refusal) as refused:
            await overview.secret(secret_id)
        return refused.value

    refusal = asked()
    assert (refusal.reason, refusal.message) == (reason, said)


@virtual_time
async def test_a_secret_before_there_is_a_store_is_a_defect(overview):
    with pytest.raises(RuntimeError, match="before there is a store"):
        await overview.secret("for-jobs")
