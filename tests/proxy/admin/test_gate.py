import asyncio
import json

import pytest

from blueprint_proxy.admin.gate import Gate

UNIX = ("/run/admin.sock", None)
LOOPBACK = ("127.0.0.1", 8901)
POD = ("10.1.2.3", 8901)
JSON = ("content-type", "application/json")


@pytest.fixture
def knock(state):
    """Send a request's head through the gate: gives the status, 200 where it passed, and the error's reason."""

    async def behind(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    gate = Gate(behind, state)

    def knock(path="/v1/upstreams", *fields, method="GET", server=LOOPBACK, host="localhost:8901"):
        heads = [("host", host), *fields] if host is not None else [*fields]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "server": server,
            "client": ("203.0.113.7", 1234),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in heads],
        }
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(gate(scope, None, send))
        error = json.loads(sent[1]["body"]).get("error", {})
        return sent[0]["status"], error.get("reason")

    return knock


PASSED = (200, None)
MISDIRECTED = (421, "bad_request")
UNAUTHENTICATED = (401, "unauthenticated")
FORBIDDEN = (403, "forbidden")


@pytest.mark.parametrize("server", [LOOPBACK, ("::1", 8901), UNIX])
def test_without_a_token_the_operator_scope_is_open_on_loopback_and_unix_sockets(knock, server):
    assert knock(server=server) == PASSED


def test_without_a_token_the_operator_scope_is_closed_on_any_other_address(knock):
    assert knock(server=POD, host="10.1.2.3:8901") == FORBIDDEN


def test_with_a_token_the_operator_scope_needs_it_everywhere(knock, state):
    state.token = "s3cret"
    for server in (LOOPBACK, UNIX):
        assert knock(server=server) == UNAUTHENTICATED
        assert knock("/v1/upstreams", ("authorization", "Bearer s3cret"), server=server) == PASSED
    assert knock("/v1/upstreams", ("authorization", "bearer s3cret"), server=POD, host="10.1.2.3:8901") == PASSED


@pytest.mark.parametrize(
    "given",
    [
        "Bearer wrong",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Bearer",
        "Bearer ",
        "",
        "s3cret",
        "Basic s3cret",
        "Bearer \xe9",
    ],
)
def test_a_wrong_token_is_refused(knock, state, given):
    state.token = "s3cret"
    assert knock("/v1/upstreams", ("authorization", given)) == UNAUTHENTICATED


def test_two_authorization_fields_are_refused(knock, state):
    state.token = "s3cret"
    field = ("authorization", "Bearer s3cret")
    assert knock("/v1/upstreams", field, field) == UNAUTHENTICATED


@pytest.mark.parametrize("given", ["Bearer", "Bearer ", "Bearer  "])
def test_an_empty_token_opens_nothing(knock, state, given):
    state.token = ""
    assert knock("/v1/upstreams", ("authorization", given)) == UNAUTHENTICATED


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_health_and_metrics_are_open_whatever_the_token_and_address(knock, state, path):
    state.token = "s3cret"
    assert knock(path) == PASSED
    assert knock(path, server=POD, host="10.1.2.3:8901") == PASSED


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/nope", "/livez/", "//livez", "/v1/runs"])
def test_a_path_that_nobody_opened_is_closed(knock, state, path):
    state.token = "s3cret"
    assert knock(path) == UNAUTHENTICATED


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8901", "127.0.0.1:1", "[::1]:8901", "sidecar.internal:8901"])
def test_a_host_we_know_passes(knock, host):
    assert knock(host=host) == PASSED


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8901",
        "localhost.evil.example",
        "localhost@evil",
        "[::1",
        "",
        "a, localhost",
        "10.1.2.3",
        None,
    ],
)
def test_a_host_we_do_not_know_is_misdirected_even_on_open_paths(knock, host):
    assert knock(host=host) == MISDIRECTED
    assert knock("/metrics", host=host) == MISDIRECTED


def test_a_second_host_field_is_misdirected(knock):
    assert knock("/livez", ("host", "localhost")) == MISDIRECTED


def test_a_probe_may_name_the_address_it_came_to(knock):
    assert knock("/readyz", server=POD, host="10.1.2.3:8901") == PASSED
    assert knock("/readyz", server=("fd00::7", 8901), host="[fd00::7]:8901") == PASSED


def test_over_a_unix_socket_any_host_passes(knock):
    assert knock(server=UNIX, host="blueprint") == PASSED


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost:8901", "http://localhost:1", ""])
def test_a_page_of_another_origin_is_refused(knock, origin):
    assert knock("/metrics", ("origin", origin)) == FORBIDDEN


def test_a_page_of_our_own_origin_passes(knock):
    assert knock("/v1/upstreams", ("origin", "http://localhost:8901")) == PASSED


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_a_json_post_passes(knock, kind):
    assert knock("/v1/x", ("content-type", kind), method="POST") == PASSED


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("content-type", "text/plain")],
        [("content-type", "application/jsonp")],
        [("content-type", "text/plain; application/json")],
        [JSON, ("content-type", "text/plain")],
    ],
)
def test_a_post_of_anything_but_json_is_refused(knock, fields):
    assert knock("/v1/x", *fields, method="POST") == (415, "bad_request")
