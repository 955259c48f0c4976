"""Deadlines: of several the smallest wins, and what is left of it goes up."""

import re
import time

import grpc
import pytest

from support.rpc_upstream import PATIENCE, value

pytestmark = pytest.mark.end_to_end

UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def seconds(timeout):
    amount, unit = re.fullmatch(r"(\d{1,8})([HMSmun])", timeout).groups()
    return int(amount) * UNITS[unit]


def hang(messages, context, heard):
    heard.over.wait(PATIENCE)
    yield b""


ROUNDED = 0.05
"""Seconds by which the library may write a timeout longer than it is: it has few digits for it, and rounds up."""


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_what_is_left_of_the_jobs_deadline_goes_up(scene, method):
    it = scene()
    it.unary(method)(b"x", timeout=8)
    assert 7.0 < seconds(it.tap.only_request()["grpc-timeout"]) <= 8.0 + ROUNDED


def test_without_a_deadline_none_goes_up_for_a_stream(scene):
    it = scene()
    it.unary("/s.T/chat")(b"x")
    assert it.tap.only_request().all("grpc-timeout") == []


def test_a_unary_attempt_is_bounded_by_the_first_byte_limit_on_the_wire_too(scene):
    it = scene({"timeouts": {"first_byte": "20s"}})
    it.unary()(b"x", timeout=60)
    assert 19.0 < seconds(it.tap.only_request()["grpc-timeout"]) <= 20.0 + ROUNDED


@pytest.mark.parametrize(
    ("keys", "metadata", "timeout", "most"),
    [
        ({"deadline": "3s"}, (), 9, 3.0),
        ({"deadline": "9s"}, (), 3, 3.0),
        ({"deadline": "9s"}, (("x-blueprint-timeout-ms", "3000"),), 8, 3.0),
        ({}, (("x-blueprint-timeout-ms", "9000"),), 3, 3.0),
        ({"deadline": "3s"}, (), None, 3.0),
    ],
)
def test_the_smallest_deadline_wins(scene, keys, metadata, timeout, most):
    it = scene(keys)
    it.unary("/s.T/chat")(b"x", metadata=metadata, timeout=timeout)
    assert most - 2 < seconds(it.tap.only_request()["grpc-timeout"]) <= most + ROUNDED


def test_a_repeat_carries_what_is_left_after_the_waits(scene):
    it = scene()
    tries = []

    def behave(messages, context, heard):
        tries.append(1)
        if len(tries) == 1:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "500"),))
            context.abort(grpc.StatusCode.UNAVAILABLE, "")
        yield b"ok"

    it.server.on("/a.Safe/get", behave)
    it.unary("/a.Safe/get")(b"x", timeout=8)
    first, second = (seconds(up["grpc-timeout"]) for up in it.tap.requests())
    assert first - 3 < second <= first - 0.4


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_a_deadline_of_ours_is_refused_by_name_and_the_upstream_is_let_go(scene, method):
    it = scene({"deadline": "300ms"})
    it.server.on(method, hang)
    began = time.monotonic()
    error = it.fails(method)
    assert 0.25 < time.monotonic() - began < 3
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.details().startswith("blueprint-proxy: the call's deadline ran out after 0.")
    assert value(error.trailing_metadata(), "x-blueprint-error") == "deadline_exceeded"
    assert value(error.trailing_metadata(), "x-blueprint-maybe-executed") == "true"
    assert it.server.wait_for(1).over.wait(PATIENCE)


@pytest.mark.parametrize("method", ["/a.B/c", "/s.T/chat"], ids=["unary", "stream"])
def test_the_jobs_own_deadline_ends_the_upstreams_call(scene, method):
    it = scene()
    it.server.on(method, hang)
    assert it.fails(method, timeout=0.3).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert it.server.wait_for(1).over.wait(PATIENCE)


def test_an_attempt_that_is_too_slow_is_repeated_where_it_may_be(scene):
    it = scene({"timeouts": {"first_byte": "300ms"}})
    tries = []

    def behave(messages, context, heard):
        tries.append(1)
        if len(tries) == 1:
            heard.over.wait(PATIENCE)
        yield b"ok"

    it.server.on("/a.Safe/get", behave)
    it.server.on("/a.B/c", hang)
    assert it.unary("/a.Safe/get")(b"x") == b"ok"
    assert len(it.server.heard) == 2
    error = it.fails("/a.B/c")
    assert "first_byte timeout of 0.3 s" in error.details()
    assert value(error.trailing_metadata(), "x-blueprint-maybe-executed") == "true"


def test_an_upstreams_own_deadline_exceeded_passes_as_its_own(scene):
    it = scene()

    def behave(messages, context, heard):
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "my backend was slow")
        yield b""

    it.server.on("/a.B/c", behave)
    error = it.fails(timeout=5)
    assert error.details() == "my backend was slow"
    assert value(error.trailing_metadata(), "x-blueprint-source") == "upstream"


def test_a_timeout_that_is_no_number_is_refused(scene):
    it = scene()
    error = it.fails(metadata=(("x-blueprint-timeout-ms", "soon"),))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert value(error.trailing_metadata(), "x-blueprint-error") == "bad_request"
    assert value(error.trailing_metadata(), "x-blueprint-not-sent") == "true"
    assert not it.server.heard
