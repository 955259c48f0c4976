"""Repeats: which calls get them, how long they wait, and what the job hears in the end."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from support.raw_upstream import echo_body
from support.wire import chunked, reply, request

if TYPE_CHECKING:
    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage
    from support.wire import Request

UNAVAILABLE = reply(503, b"try later")
LARGE = bytes(range(256)) * (5 * 1024 * 4)
"""5 MiB, no two neighbouring bytes alike."""


def test_two_failures_are_hidden_from_the_job(retrying: Stage) -> None:
    retrying.upstream.answer(UNAVAILABLE, UNAVAILABLE, reply(200, b"fine"))
    answer = retrying.call()
    assert (answer.status, answer.body, answer.attempts, answer.error) == (200, b"fine", 3, None)
    assert answer.value("x-blueprint-source") == b"upstream"
    assert len(retrying.upstream.requests) == 3


def test_every_attempt_is_the_same_request(retrying: Stage) -> None:
    retrying.upstream.answer(UNAVAILABLE, UNAVAILABLE, reply())
    retrying.call("PUT", "/a%2Fb?c", ("X-Mixed", "Case"), body=b"12345")
    first, *others = retrying.upstream.requests
    for other in others:
        assert (other.start_line, other.body) == (first.start_line, first.body)
        assert other.fields == first.fields


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_call_that_may_not_be_repeated_is_answered_as_it_came(retrying: Stage, method: str) -> None:
    retrying.upstream.answer(UNAVAILABLE)
    answer = retrying.call(method, "/thing", body=b"12345")
    assert (answer.status, answer.body, answer.attempts, answer.error) == (503, b"try later", 1, None)
    assert answer.value("x-blueprint-source") == b"upstream"
    assert len(retrying.upstream.requests) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_method_is_repeated(retrying: Stage, method: str) -> None:
    retrying.upstream.answer(UNAVAILABLE, reply(200, b"fine"))
    answer = retrying.call(method, "/thing", body=b"12345" if method == "PUT" else None)
    assert (answer.status, answer.attempts) == (200, 2)


def test_an_idempotency_key_makes_a_post_repeatable(retrying: Stage) -> None:
    retrying.upstream.answer(UNAVAILABLE, UNAVAILABLE, reply(200, b"fine"))
    answer = retrying.call("POST", "/thing", ("Idempotency-Key", '"k-1"'), body=b"12345")
    assert (answer.status, answer.attempts) == (200, 3)
    assert [sent.value("idempotency-key") for sent in retrying.upstream.requests] == [b'"k-1"'] * 3
    assert [sent.body for sent in retrying.upstream.requests] == [b"12345"] * 3


def test_when_attempts_run_out_the_last_real_answer_passes(retrying: Stage) -> None:
    retrying.upstream.answer(reply(503, b"1"), reply(503, b"2"), reply(503, b"3", ("X-A", "b")))
    answer = retrying.call()
    assert (answer.status, answer.body, answer.value("x-a"), answer.attempts) == (503, b"3", b"b", 3)
    assert answer.error == "attempts_exhausted"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 501])
def test_an_answer_that_another_try_would_not_change_is_not_repeated(retrying: Stage, status: int) -> None:
    retrying.upstream.answer(reply(status, b"no"))
    answer = retrying.call()
    assert (answer.status, answer.attempts, answer.error) == (status, 1, None)


def test_a_hint_in_milliseconds_is_a_floor_for_the_wait(retrying: Stage) -> None:
    retrying.upstream.answer(reply(503, b"", ("Retry-After-Ms", "300")), reply())
    assert retrying.call().status == 200
    first, second = retrying.upstream.requests
    assert second.arrived - first.arrived >= 0.295  # a clock reading on each side


def test_a_hint_in_seconds_is_a_floor_for_the_wait(retrying: Stage) -> None:
    retrying.upstream.answer(reply(429, b"", ("Retry-After", "1")), reply())
    assert retrying.call().status == 200
    first, second = retrying.upstream.requests
    assert second.arrived - first.arrived >= 0.995


def test_a_hint_beyond_the_deadline_fails_at_once_and_says_so(retrying: Stage) -> None:
    retrying.upstream.answer(reply(503, b"", ("Retry-After", "60")))
    answer = retrying.call("GET", "/thing", ("x-blueprint-timeout-ms", "30000"))  # waiting would outlast the client
    assert answer.status in {503, 504}
    assert answer.error in {"attempts_exhausted", "deadline_exceeded"}
    assert answer.attempts == 1
    assert answer.value("retry-after")


def test_a_refused_connection_was_never_sent(retrying: Stage) -> None:
    retrying.upstream.stop()
    answer = retrying.call()
    assert (answer.status, answer.error) == (502, "upstream_unreachable")
    assert answer.value("x-blueprint-not-sent") == b"true"
    assert answer.value("x-blueprint-maybe-executed") is None
    assert answer.value("x-blueprint-source") == b"proxy"
    assert answer.attempts == 3


def test_a_post_that_was_never_sent_is_repeated(retrying: Stage) -> None:
    retrying.upstream.stop()
    answer = retrying.call("POST", "/thing", body=b"12345")
    assert (answer.status, answer.attempts) == (502, 3)
    assert answer.value("x-blueprint-not-sent") == b"true"


def fail_first(stage: Stage) -> None:
    """503 to the first request, an echo to the others."""

    def handle(sent: Request, _: UpstreamConnection) -> bytes:
        return UNAVAILABLE if len(stage.upstream.requests) == 1 else reply(200, echo_body(sent))

    stage.upstream.serve(handle)


@pytest.mark.parametrize("size", [0, 1, 10_000])
def test_a_body_is_replayed_from_memory(retrying: Stage, size: int) -> None:
    fail_first(retrying)
    answer = retrying.call("PUT", "/thing", body=LARGE[:size])
    assert answer.attempts == 2
    assert json.loads(answer.body)["body_sha256"] == hashlib.sha256(LARGE[:size]).hexdigest()


def test_a_large_body_is_replayed_from_the_spool(spooling: Stage) -> None:
    fail_first(spooling)
    answer = spooling.call("PUT", "/thing", body=LARGE)
    assert answer.attempts == 2
    assert json.loads(answer.body)["body_sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_a_chunked_body_is_replayed_with_its_trailers(spooling: Stage) -> None:
    fail_first(spooling)
    client = spooling.client()
    client.send(request("PUT", spooling.path(), ("Transfer-Encoding", "chunked")))
    client.send(chunked(*(LARGE[at : at + 50_000] for at in range(0, 500_000, 50_000)), trailers=(("X-Sum", "abc"),)))
    answer = client.read_reply()
    seen = json.loads(answer.body)
    assert answer.attempts == 2
    assert seen["body_sha256"] == hashlib.sha256(LARGE[:500_000]).hexdigest()
    assert seen["trailers"] == ["X-Sum: abc"]


def test_a_body_is_replayed_after_a_reset_in_its_middle(spooling: Stage) -> None:
    def reset(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.exactly(1_000_000, "a part of the body")
        connection.reset()

    spooling.upstream.script(reset)
    spooling.upstream.echo()
    answer = spooling.call("PUT", "/thing", body=LARGE)
    assert (answer.status, answer.attempts) == (200, 2)
    assert json.loads(answer.body)["body_sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_the_next_attempt_begins_while_the_job_is_still_sending(spooling: Stage) -> None:
    client = spooling.client()
    half = len(LARGE) // 2

    def reset(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.exactly(1000, "a part of the body")
        connection.reset()

    spooling.upstream.script(reset)
    spooling.upstream.echo()
    client.send(request("PUT", spooling.path(), ("Content-Length", str(len(LARGE)))) + LARGE[:half])
    spooling.upstream.wait_for_requests(2)
    client.send(LARGE[half:])
    answer = client.read_reply()
    assert json.loads(answer.body)["body_sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_an_early_failure_is_repeated_with_the_whole_body(spooling: Stage) -> None:
    def refuse(connection: UpstreamConnection) -> None:
        connection.read_head()
        connection.send(UNAVAILABLE)
        connection.wait_closed()

    spooling.upstream.script(refuse)
    spooling.upstream.echo()
    client = spooling.client()
    half = len(LARGE) // 2
    client.send(request("PUT", spooling.path(), ("Content-Length", str(len(LARGE)))) + LARGE[:half])
    spooling.upstream.wait_for_requests(2)
    client.send(LARGE[half:])
    answer = client.read_reply()
    assert (answer.status, answer.attempts) == (200, 2)
    assert json.loads(answer.body)["body_sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_a_body_beyond_the_spool_goes_on_unrepeatable(overflowing: Stage) -> None:
    overflowing.upstream.answer(UNAVAILABLE)
    answer = overflowing.call("PUT", "/thing", body=LARGE)
    assert (answer.status, answer.body, answer.attempts) == (503, b"try later", 1)
    assert overflowing.upstream.requests[0].body == LARGE


def test_a_body_beyond_the_spool_arrives_whole(overflowing: Stage) -> None:
    overflowing.upstream.echo()
    answer = overflowing.call("PUT", "/thing", body=LARGE)
    assert json.loads(answer.body)["body_sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_the_body_of_a_hidden_failure_does_not_hold_the_connection_up(retrying: Stage) -> None:
    retrying.upstream.answer(reply(503, b"x" * 200_000), reply(503, b"y" * 200_000), reply(200, b"fine"))
    client = retrying.client()
    assert client.call("GET", retrying.path()).body == b"fine"
    assert client.call("GET", retrying.path()).body == b"fine"
