import subprocess
import sys

import pytest


def test_it_is_alive(ask):
    assert ask("GET", "/livez").status_code == 200


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_is_the_states(ask, state, ready, status):
    state.is_ready = ready
    answer = ask("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (status, {"ready": ready})


def test_metrics_are_prometheus_text(ask):
    answer = ask("GET", "/metrics", headers={"accept": "*/*"})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "blueprint_proxy_build_info{" in answer.text


def test_metrics_are_openmetrics_when_asked_for(ask):
    answer = ask("GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_upstreams_are_shown_with_breakers_and_what_is_under_way(ask):
    assert ask("GET", "/v1/upstreams").json() == [
        {
            "name": "gcs",
            "kind": "gcs",
            "url": "https://storage.example/base",
            "mode": "enforce",
            "breakers": [{"owner": "", "state": "open", "retry_after": 2.5}],
            "in_flight": 1,
            "queued": 2,
            "connections": {"idle": 3, "active": 4},
            "simulator": None,
        }
    ]


def test_the_configuration_is_the_states(ask):
    assert ask("GET", "/v1/config").json() == {"mode": "enforce"}


def test_an_order_to_a_breaker_is_carried_out_and_answered_with_what_is_then(ask, state):
    answer = ask("POST", "/v1/upstreams/gcs/breaker", json={"action": "reset"})
    assert answer.status_code == 200
    assert answer.json()["breakers"][0]["state"] == "closed"
    assert state.orders == [("gcs", None, "reset")]


def test_an_order_may_name_one_of_an_upstreams_breakers(ask, state):
    ask("POST", "/v1/upstreams/gcs/breaker", json={"action": "force_open", "owner": ""})
    assert state.orders == [("gcs", "", "force_open")]


@pytest.mark.parametrize(
    ("path", "order"),
    [("/v1/upstreams/nope/breaker", {}), ("/v1/upstreams/gcs/breaker", {"owner": "nope"})],
)
def test_an_order_to_a_breaker_that_is_not_there_is_a_404(ask, path, order):
    answer = ask("POST", path, json={"action": "reset", **order})
    assert answer.status_code == 404
    assert answer.json()["error"]["reason"] == "not_found"


def test_a_job_is_told_where_its_upstreams_are(ask, state):
    answer = ask("GET", "/v1/addresses")
    assert answer.json()["upstreams"]["gcs"]["url"] == "http://127.0.0.1:8900/gcs"
    assert state.asked == [(None, "127.0.0.1")]


def test_a_secret_that_jobs_may_read_is_handed_out_and_kept_by_nobody(ask):
    answer = ask("GET", "/v1/secrets/for-jobs")
    assert answer.json() == {"id": "for-jobs", "value": "hunter2", "version": "3", "source": "secret_manager"}
    assert answer.headers["cache-control"] == "no-store"


def test_any_other_secret_is_forbidden(ask):
    answer = ask("GET", "/v1/secrets/gemini-api-key")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "forbidden")


def test_an_order_to_drain_is_answered_and_then_carried_out(ask, state):
    answer = ask("POST", "/v1/drain", json={})
    assert (answer.status_code, answer.json()) == (202, {"draining": True, "grace_s": 30.0})
    assert state.drains == 1


@pytest.mark.parametrize("order", [{"now": True}, [], 0, "x"])
def test_an_order_to_drain_says_nothing_more(ask, state, order):
    assert ask("POST", "/v1/drain", json=order).status_code == 422
    assert state.drains == 0


def test_the_stream_of_events_is_what_listeners_are_given(ask, state):
    state.events.end()
    answer = ask("GET", "/v1/events")
    assert (answer.headers["content-type"], answer.text) == ("text/event-stream; charset=utf-8", ": alive\n\n")


@pytest.mark.parametrize("module", ["access", "event_streams", "gate", "state"])
def test_what_the_composition_root_may_import_early_brings_no_fastapi(module):
    program = f"import sys, blueprint_proxy.admin.{module}; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
