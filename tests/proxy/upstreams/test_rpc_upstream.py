"""From a method and its metadata to a Call."""

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.rpc.exchange import RpcCall
from blueprint_proxy.runs.run import Run
from support.scripted_upstream import START
from support.virtual_time import virtual_time

URL = "grpc://127.0.0.1:1"
UNARY = "operations: {'a.B/*': {unary: true, class: idempotent}}"


def asked(upstream, message=b"x", method="/a.B/c", metadata=(), *, left=None, run=None, **own):
    keys = {f"x-blueprint-{key.replace('_', '-')}": value for key, value in own.items()}
    return upstream.rpc(method, tuple(metadata), message, own=keys, left=left, request_id="r-1", run=run)


@pytest.fixture
def rpc(built):
    return lambda keys="", earlier=None, **environ: built(f"kind: grpc, {keys}", earlier, url=URL, **environ)


@virtual_time
async def test_a_call_holds_the_method_the_metadata_and_the_message(rpc):
    one = asked(rpc(UNARY), metadata=(("k", "1"), ("te", "x"), ("b-bin", b"\0")))
    assert isinstance(one, RpcCall)
    assert (one.upstream, one.operation, one.target, one.method) == ("it", "a.B/c", b"/a.B/c", "POST")
    assert (one.headers.pairs, one.body, one.unary, one.repeatable) == (
        (("k", "1"), ("b-bin", b"\0")),
        b"x",
        True,
        True,
    )


@virtual_time
async def test_a_method_is_unary_where_the_configuration_says_so(rpc):
    upstream = rpc(UNARY)
    assert upstream.unary("/a.B/c")
    assert not upstream.unary("/s.T/c")


@virtual_time
async def test_a_stream_is_never_repeatable_and_has_messages_to_count(rpc):
    one = asked(rpc(UNARY), None)
    assert (one.unary, one.repeatable, one.body.received, one.body.replayable) == (False, False, 0, True)


@virtual_time
async def test_a_class_of_unsafe_or_none_is_not_repeatable(rpc):
    assert not asked(rpc("operations: {'a.B/*': {unary: true}}")).repeatable
    assert not asked(rpc("operations: {'a.B/*': {unary: true, class: unsafe}}")).repeatable


@pytest.mark.parametrize(
    ("keys", "left", "own", "deadline"),
    [
        ("", None, {}, None),
        ("deadline: 9s", None, {}, 9.0),
        ("deadline: 9s", 3.0, {}, 3.0),
        ("deadline: 2s", 3.0, {}, 2.0),
        ("deadline: 9s", 8.0, {"timeout_ms": "1500"}, 1.5),
        ("mode: 'off', deadline: 2s", 3.0, {"timeout_ms": "1"}, 3.0),
        ("mode: 'off', deadline: 2s", None, {}, None),
    ],
)
@virtual_time
async def test_the_smallest_deadline_counts(rpc, keys, left, own, deadline):
    assert asked(rpc(keys), left=left, **own).deadline == (None if deadline is None else START + deadline)


@pytest.mark.parametrize(
    ("mode", "upward"), [("enforce", START + 2.0), ("observe", START + 5.0), ("'off'", START + 5.0)]
)
@virtual_time
async def test_only_what_the_job_said_goes_up_where_nothing_is_enforced(rpc, mode, upward):
    assert asked(rpc(f"mode: {mode}, deadline: 2s"), left=5.0).upward == upward


@virtual_time
async def test_a_timeout_that_cannot_be_read_is_a_bad_request(rpc):
    with pytest.raises(Refusal) as caught:
        asked(rpc(), timeout_ms="soon")
    assert (caught.value.reason, caught.value.sent) == (Reason.BAD_REQUEST, False)
    assert asked(rpc("mode: observe, deadline: 2s"), timeout_ms="soon").deadline == START + 2.0


@pytest.mark.parametrize(
    ("value", "previous", "passes"), [("2", 2, False), ("0", 0, True), ("x", 0, True), ("9" * 12, 0, True)]
)
@virtual_time
async def test_the_jobs_own_attempts_are_counted_on(rpc, value, previous, passes):
    one = asked(rpc(), metadata=(("grpc-previous-rpc-attempts", value),))
    assert (one.previous, bool(one.headers.pairs)) == (previous, passes)


@virtual_time
async def test_a_message_over_the_limit_is_refused_before_anything_is_sent(rpc):
    upstream = rpc("message_limit: 4B")
    assert asked(upstream, b"1234").body == b"1234"
    with pytest.raises(Refusal) as caught:
        asked(upstream, b"12345")
    assert (caught.value.reason, caught.value.sent) == (Reason.TOO_LARGE, False)
    assert asked(rpc("message_limit: 4B, mode: observe"), b"12345").body == b"12345"
    assert upstream.largest_message == 4


@virtual_time
async def test_where_the_upstream_has_a_credential_the_jobs_own_is_dropped(rpc):
    upstream = rpc("credential: {env: THE_KEY}", THE_KEY="k")
    assert asked(upstream, metadata=(("authorization", "mine"), ("a", "1"))).headers.pairs == (("a", "1"),)
    assert asked(rpc(), metadata=(("authorization", "mine"),)).headers.pairs == (("authorization", "mine"),)


@virtual_time
async def test_an_http_request_is_told_where_to_go(rpc):
    with pytest.raises(Refusal) as caught:
        rpc().call()
    assert caught.value.reason is Reason.UNKNOWN_UPSTREAM
    assert "listen.grpc" in caught.value.message


@virtual_time
async def test_policies_survive_a_reload(rpc):
    first = rpc(UNARY)
    breaker = asked(first).policies.breaker
    assert asked(rpc(UNARY, first)).policies.breaker is breaker


@virtual_time
async def test_the_runs_deadline_bounds_every_call_of_it(rpc):
    run = Run("scene~job", None, START + 4.0)
    for keys, deadline in (("deadline: 9s", START + 4.0), ("deadline: 2s", START + 2.0), ("mode: 'off'", None)):
        assert asked(rpc(keys), run=run).deadline == deadline
    assert asked(rpc(), run=run).run is run


@virtual_time
async def test_a_traceparent_makes_the_call_part_of_its_trace(rpc):
    header = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert asked(rpc(), metadata=(("traceparent", header),)).trace.id == "a" * 32
    assert asked(rpc(), metadata=(("traceparent", "nonsense"),)).trace is None
