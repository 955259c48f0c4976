"""Request forms and addresses: what goes to which upstream, and what goes to none."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from support.wire import PATIENCE, CutShortError, reply, request

if TYPE_CHECKING:
    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage


def test_connect_is_refused(plain: Stage) -> None:
    client = plain.client()
    client.send(b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n")
    assert client.read_reply().status == 405
    client.assert_closed()


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_upgrade_is_refused(plain: Stage, protocol: str) -> None:
    answer = plain.call("GET", "/thing", ("Connection", "upgrade"), ("Upgrade", protocol))
    assert (answer.status, answer.error) == (400, "bad_request")
    assert plain.upstream.requests == []


def test_the_absolute_form_with_our_authority_works(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    authority = plain.proxy.authority
    client.send(request("GET", f"http://{authority}{plain.path('/a%2Fb?c')}", host=authority))
    assert client.read_reply().body == b"hello"
    assert plain.upstream.requests[0].target == b"/a%2Fb?c"


@pytest.mark.parametrize("host", ["other.test", "PROXY"])
def test_the_absolute_form_with_another_authority_is_misdirected(plain: Stage, host: str) -> None:
    client = plain.client()
    host = host.replace("PROXY", plain.proxy.authority)
    client.send(request("GET", f"http://other.test{plain.path()}", host=host))
    assert client.read_reply().status == 421
    assert plain.upstream.requests == []


def test_options_of_the_whole_server_is_refused(plain: Stage) -> None:
    client = plain.client()
    client.send(request("OPTIONS", "*"))
    assert client.read_reply().status == 400


@pytest.mark.parametrize(
    "rest",
    ["/../x", "/a/../../x", "/%2e%2e/x", "/.%2E/x", "/%2e./x", "/a/%2E%2e/%2e%2e/x", "/..", "/%2e%2e", "/..?q=1"],
)
def test_dot_segments_that_leave_the_base_path_are_refused(plain: Stage, rest: str) -> None:
    answer = plain.call("GET", rest)
    assert (answer.status, answer.error) == (400, "bad_request")
    assert plain.upstream.requests == []


@pytest.mark.parametrize("rest", ["/a/../b", "/./a", "/a/%2e%2e/b", "/a/...", "/..a/b..", "/a?x=/../../.."])
def test_dot_segments_that_stay_inside_pass_unchanged(plain: Stage, rest: str) -> None:
    plain.upstream.answer(reply())
    assert plain.call("GET", rest).status == 200
    assert plain.upstream.requests[0].target == rest.encode()


@pytest.mark.parametrize("path", ["/nowhere/x", "/", "/nowhere", "/%70lain-0/x", "//x"])
def test_an_unknown_upstream_is_answered_with_the_known_ones(plain: Stage, path: str) -> None:
    answer = plain.client().call("GET", path)
    assert (answer.status, answer.error) == (404, "unknown_upstream")
    assert plain.name in json.loads(answer.body)["error"]["message"]


def test_a_refusal_has_the_contracts_body(plain: Stage) -> None:
    answer = plain.client().call("GET", "/nowhere/x", ("x-request-id", "r-1"))
    assert answer.value("content-type") in {b"application/json", b"application/json; charset=utf-8"}
    assert answer.value("x-blueprint-source") == b"proxy"
    error = json.loads(answer.body)["error"]
    assert {"code": 404, "reason": "unknown_upstream", "request_id": "r-1"}.items() <= error.items()
    assert error["status"] == "NOT_FOUND" or isinstance(error["status"], str)
    assert error["message"]


def test_a_name_is_matched_byte_for_byte(plain: Stage) -> None:
    client = plain.client()
    assert client.call("GET", f"/{plain.name.upper()}/x").status == 404


def test_the_connection_lives_on_after_a_refusal_that_read_everything(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    assert client.call("POST", "/nowhere/x", body=b"12345").status == 404
    try:
        assert client.call("GET", plain.path()).body == b"hello"
    except (CutShortError, ConnectionResetError, BrokenPipeError):
        pytest.fail("a refusal of a small, whole request ended the connection")


def test_a_run_in_the_path_is_not_sent_upstream(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    client = plain.client()
    assert client.call("GET", f"/@kitchen~nightly{plain.path('/a%2Fb?c=d')}").body == b"hello"
    assert plain.upstream.requests[0].target == b"/a%2Fb?c=d"
    assert b"kitchen" not in plain.upstream.received


@pytest.mark.parametrize("value", ["abc", "-5", "1.5", "", "9" * 30])
def test_a_timeout_that_is_no_number_is_refused(plain: Stage, value: str) -> None:
    plain.upstream.answer(reply())
    answer = plain.call("GET", "/thing", ("x-blueprint-timeout-ms", value))
    assert answer.status in ({400, 200} if value == "9" * 30 else {400})


def test_two_jobs_calls_go_on_beside_each_other(plain: Stage) -> None:
    both_here = threading.Barrier(2)

    def meet(_: object, __: UpstreamConnection) -> bytes:
        both_here.wait(PATIENCE)
        return reply(200, b"met")

    plain.upstream.serve(meet)
    one, two = plain.client(), plain.client()
    one.send(request("GET", plain.path()))
    two.send(request("GET", plain.path()))
    assert (one.read_reply().body, two.read_reply().body) == (b"met", b"met")
