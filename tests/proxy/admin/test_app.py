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


@pytest.mark.parametrize("order", [{"action": "explode"}, {}, {"action": "reset", "extra": 1}, []])
def test_an_order_that_makes_no_sense_is_a_422_in_the_common_shape(ask, state, order):
    answer = ask("POST", "/v1/upstreams/gcs/breaker", json=order)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == 422
    assert state.orders == []


def test_an_unknown_path_is_a_404_in_the_common_shape(ask):
    answer = ask("GET", "/nope")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "not_found")


def test_the_openapi_page_names_every_route(ask):
    assert set(ask("GET", "/openapi.json").json()["paths"]) == {
        "/livez",
        "/readyz",
        "/metrics",
        "/v1/upstreams",
        "/v1/upstreams/{name}/breaker",
        "/v1/config",
    }


def test_only_the_application_module_imports_fastapi():
    program = "import sys, blueprint_proxy.admin.state, blueprint_proxy.admin.gate; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
