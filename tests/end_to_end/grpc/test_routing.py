"""Which upstream a method goes to, and what is not let in."""

import json
from http.client import HTTPConnection

import grpc
import pytest

from support.rpc_upstream import RpcUpstream, pairs, value, wait_until

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def two(scene):
    """Upstreams `svc` and `other`."""
    other = RpcUpstream()
    it = scene()
    upstreams = {**it.proxy.config["upstreams"], "other": {"kind": "grpc", "url": f"grpc://127.0.0.1:{other.port}"}}
    it.proxy.write_config({"upstreams": upstreams})
    wait_until(lambda: it.proxy.log.count("configuration_loaded") >= 2 or _loads(it) >= 2)
    yield it, other
    other.stop()


def _loads(it):
    text = it.proxy.get_admin("/metrics")[1].decode()
    line = next(
        line for line in text.splitlines() if line.startswith('blueprint_proxy_config_reloads_total{result="ok"}')
    )
    return float(line.split()[-1])


def test_the_only_grpc_upstream_needs_no_name(scene):
    it = scene()
    assert value(it.unary().with_call(b"")[1].trailing_metadata(), "x-blueprint-upstream") == "svc"


def test_metadata_names_the_upstream(two):
    it, other = two
    call = it.unary("/x.Y/z").with_call(b"", metadata=(("x-blueprint-upstream", "other"),))[1]
    assert value(call.trailing_metadata(), "x-blueprint-upstream") == "other"
    assert (len(other.heard), len(it.server.heard)) == (1, 0)


@pytest.mark.parametrize("metadata", [(), (("x-blueprint-upstream", "nobody"),), (("x-blueprint-upstream", "gemini"),)])
def test_what_cannot_be_routed_is_unimplemented_and_says_who_is_there(two, metadata):
    it, other = two
    error = it.fails(metadata=metadata)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "other, svc" in error.details()
    trailing = pairs(error.trailing_metadata())
    assert value(trailing, "x-blueprint-error") == "unknown_upstream"
    assert value(trailing, "x-blueprint-not-sent") == "true"
    assert value(trailing, "x-blueprint-source") == "proxy"
    assert not [key for key, _ in trailing if key == "x-blueprint-upstream"]
    assert not other.heard + it.server.heard


def test_a_call_that_comes_back_is_a_loop(scene):
    it = scene()
    it.unary()(b"x")
    error = it.fails(metadata=(("via", it.tap.only_request()["via"]),))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert value(error.trailing_metadata(), "x-blueprint-error") == "loop"
    assert len(it.server.heard) == 1


def test_the_via_of_other_proxies_passes(scene):
    it = scene()
    it.unary()(b"x", metadata=(("via", "2.0 elsewhere"),))
    elsewhere, own = it.tap.only_request().all("via")
    assert elsewhere == "2.0 elsewhere"
    assert own.startswith("2.0 blueprint-proxy-")


def test_a_run_that_no_run_is_called_is_refused(scene):
    error = scene().fails(metadata=(("x-blueprint-run", "a b"),))
    assert value(error.trailing_metadata(), "x-blueprint-error") == "bad_request"


def test_an_http_request_for_a_grpc_upstream_says_where_to_go(scene):
    it = scene()
    reply = it.proxy.client().call("GET", "/svc/x")
    assert reply.status == 404
    assert b"listen.grpc" in reply.body


def test_without_a_grpc_upstream_the_listener_stays_shut(proxy, scene):
    it = proxy({"upstreams": {}})
    assert '"grpc"' not in it.log
    channel = grpc.insecure_channel(it.config["listen"]["grpc"])
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/a.B/c")(b"", timeout=2)
    channel.close()


def test_a_reload_that_brings_the_first_grpc_upstream_opens_the_listener(proxy):
    it = proxy({"upstreams": {}})
    upstream = RpcUpstream()
    it.write_config({"upstreams": {"svc": {"kind": "grpc", "url": f"grpc://127.0.0.1:{upstream.port}"}}})
    channel = grpc.insecure_channel(it.config["listen"]["grpc"])
    assert channel.unary_unary("/a.B/c")(b"x", timeout=20, wait_for_ready=True) == b"x"
    channel.close()
    upstream.stop()


def test_a_call_belongs_to_the_run_that_it_names_or_to_the_only_one(scene):
    it = scene()
    it.unary()(b"x", metadata=(("x-blueprint-run", "scene~job"),))
    lease = _post(it, "/v1/runs", {"job_name": "job", "scene_id": "scene", "deadline_s": 3})
    it.unary("/s.T/chat")(b"x", metadata=(("x-blueprint-run", lease["id"]),))
    it.unary("/s.T/chat")(b"x")
    _, named, only = it.tap.requests()
    assert all(up["grpc-timeout"].endswith("m") or up["grpc-timeout"] in {"2S", "3S"} for up in (named, only))
    addresses = json.loads(it.proxy.get_admin("/v1/addresses")[1])
    assert addresses["grpc"] == it.proxy.config["listen"]["grpc"]


def _post(it, path, body):
    connection = HTTPConnection(*it.proxy.admin, timeout=5)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    assert answer.status == 201, found
    return found
