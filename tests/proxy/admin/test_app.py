import re

import pytest

from blueprint_proxy.admin.access import TABLE
from blueprint_proxy.errors import Reason, Refusal


@pytest.mark.parametrize("order", [{"action": "explode"}, {}, {"action": "reset", "extra": 1}, []])
def test_an_order_that_makes_no_sense_is_a_422_in_the_common_shape(ask, state, order):
    answer = ask("POST", "/v1/upstreams/gcs/breaker", json=order)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == 422
    assert state.orders == []


def test_an_unknown_path_is_a_404_in_the_common_shape(ask):
    answer = ask("GET", "/nope")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "not_found")


def test_a_method_that_a_path_does_not_have_is_a_405_in_the_common_shape(ask):
    answer = ask("DELETE", "/v1/upstreams")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["error"]["code"] == 405


@pytest.mark.parametrize(
    ("path", "methods"), [("/v1/runs", "GET, POST"), ("/v1/drain", "POST"), ("/livez", "GET, HEAD"), ("/docs", "GET")]
)
def test_a_405_names_every_method_of_the_path(ask, path, methods):
    answer = ask("DELETE", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_a_probe_may_ask_for_the_head_alone(ask, state, path):
    assert ask("HEAD", path).status_code == 200
    state.is_ready = False
    assert ask("HEAD", "/readyz").status_code == 503


def test_nothing_but_a_probe_is_asked_for_its_head(ask):
    assert ask("HEAD", "/v1/events").status_code == 405


@pytest.mark.parametrize("path", ["/v1/upstreams/", "/v1//upstreams", "/v1/addresses/"])
def test_no_path_leads_to_another_one(ask, path):
    assert ask("GET", path).status_code == 404


def test_our_own_refusals_have_the_common_shape(ask, state):
    async def refusing(secret_id):
        raise Refusal(Reason.OVERLOADED, "not loaded yet", sent=False, retry_after=0.2)

    state.secret = refusing
    answer = ask("GET", "/v1/secrets/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"error": {"code": 503, "reason": "overloaded", "message": "not loaded yet"}}


def test_the_openapi_page_has_every_row_of_the_table_and_what_operators_have(ask):
    paths = ask("GET", "/openapi.json").json()["paths"]
    shapes = {(method, shape(path)) for path, item in paths.items() for method in item}
    assert shapes == {((rule.method or "GET").lower(), rule.template) for rule in TABLE} | {
        ("get", "/v1/upstreams"),
        ("post", "/v1/upstreams/{}/breaker"),
        ("get", "/v1/runs"),
        ("get", "/v1/config"),
        ("post", "/v1/drain"),
    }


def shape(path):
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_the_page_for_people_loads_nothing_and_runs_nothing(ask):
    answer = ask("GET", "/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert "src=" not in answer.text
    assert {link.strip("'")[:1] for link in re.findall(r"href=([^ >]+)", answer.text)} == {"#", "/"}
