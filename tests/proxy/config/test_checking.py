from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["@x", "a/b", "", "a b", "ä", "..", "."])
def test_a_name_that_cannot_be_a_path_segment_is_refused(problems, name):
    (message,) = problems(f'upstreams: {{"{name}": {{url: "http://a"}}}}')
    assert "is not a name for an upstream" in message


@pytest.mark.parametrize(
    ("kind", "url"), [("http", "grpc://h"), ("gcs", "grpcs://h"), ("gemini", "grpc://h"), ("http", "ftp://h")]
)
def test_a_url_has_a_scheme_of_its_kind(problems, kind, url):
    (message,) = problems(f"upstreams: {{x: {{kind: {kind}, url: '{url}'}}}}")
    assert "upstreams.x.url" in message


def test_a_url_of_a_kind_that_is_not_built_is_not_judged_by_another_kind(problems):
    assert problems("upstreams: {sim: {kind: geniesim, url: 'grpc://h:1'}}") == [
        "proxy.yaml:1: upstreams.sim.kind: geniesim: not built yet"
    ]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("kind: grpc, url: 'grpc://h:1/x'", "url: must not have a path: kind grpc has no use for one"),
        ("url: 'http://h', message_limit: 1MiB", "message_limit: is for kinds geniesim and grpc"),
        ("url: 'http://h', operations: {a: {unary: true}}", "operations.a.unary: is for kinds geniesim and grpc"),
    ],
)
def test_keys_that_only_grpc_has_a_use_for_are_refused_elsewhere(problems, keys, complaint):
    assert problems(f"upstreams: {{x: {{{keys}}}}}") == [f"proxy.yaml:1: upstreams.x.{complaint}"]


@pytest.mark.parametrize("url", ["http://localhost:8900/x", "http://[::1]:8901", "https://127.0.0.1:50052"])
def test_an_upstream_that_is_one_of_the_listeners_is_a_loop(problems, url):
    (message,) = problems(f"upstreams: {{x: {{url: '{url}'}}}}")
    assert "is this proxy's own listener" in message


def test_an_upstream_on_the_listeners_own_socket_is_a_loop(problems):
    (message,) = problems("listen: {http: 'unix:/run/p'}\nupstreams: {x: {url: 'unix:/run/p'}}")
    assert message.startswith("proxy.yaml:2: upstreams.x.url: is this proxy's own listener (listen.http)")


def test_a_built_in_upstream_can_be_the_loop(problems):
    (message,) = problems("listen: {http: '127.0.0.1:8080'}")
    assert "upstreams.particulate.url: is this proxy's own listener" in message


def test_two_listeners_have_two_addresses(problems):
    assert problems("listen: {http: '127.0.0.1:1', admin: '127.0.0.1:1'}") == [
        "proxy.yaml:1: listen.admin: is also listen.http"
    ]


def test_port_zero_is_any_free_port_and_no_clash(configure):
    assert configure("listen: {http: '127.0.0.1:0', admin: '127.0.0.1:0'}").listen.http.port == 0


def test_an_address_that_others_reach_needs_tls_and_a_token(problems):
    assert problems("listen: {http: '0.0.0.0:8900', admin: '[::]:8901'}") == [
        "proxy.yaml:1: listen.http: is not a loopback address, which needs tls and jobs.token",
        "proxy.yaml:1: listen.admin: is not a loopback address, which needs tls and admin.token",
    ]


def test_the_job_token_does_not_open_the_admin_address(problems):
    found = problems("listen: {admin: '0.0.0.0:1'}\ntls: {cert: /c, key: /k}", BLUEPRINT_PROXY_TOKEN="t")
    assert found == ["proxy.yaml:1: listen.admin: is not a loopback address, which needs admin.token"]


def test_with_tls_and_a_token_any_address_is_served(configure):
    text = "listen: {http: '0.0.0.0:1'}\ntls: {cert: /c, key: /k}"
    assert str(configure(text, BLUEPRINT_PROXY_TOKEN="t").listen.http) == "0.0.0.0:1"
