"""From a request's head to a Call: deadlines, limits, the job's own credential, the policies in force."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.runs.run import Run
from blueprint_proxy.upstreams.upstream import REMEMBERED
from support.requests import request_head
from support.scripted_upstream import START, NoFlow
from support.virtual_time import virtual_time


def asked(upstream, method="GET", target=b"/thing", *fields, whole=b"", run=None):
    head = request_head(method, target, *fields)
    return upstream.call(
        head, target, whole, NoFlow(), request_id="r-1", run=run, public_url=b"http://p/it", interim=None
    )


@virtual_time
async def test_a_call_holds_what_the_head_said(built):
    one = asked(built("deadline: 10s"), "PUT", b"/a%2Fb?c", (b"X-Odd", b"v"), whole=b"12345")
    assert (one.upstream, one.operation, one.method, one.target, one.body) == (
        "it",
        "PUT",
        "PUT",
        b"/a%2Fb?c",
        b"12345",
    )
    assert (one.repeatable, one.deadline, one.attempts, one.sent) == (True, START + 10.0, 0, False)
    assert one.headers.get(b"x-odd") == b"v"


@pytest.mark.parametrize(
    ("fields", "deadline", "stated"),
    [
        ((), 300.0, False),
        (((b"x-blueprint-timeout-ms", b"2500"),), 2.5, False),
        (((b"X-Server-Timeout", b"7"),), 7.0, True),
        (((b"grpc-timeout", b"200m"),), 0.2, True),
        (((b"X-Server-Timeout", b"7"), (b"x-blueprint-timeout-ms", b"2500")), 2.5, True),
        (((b"X-Server-Timeout", b"9000"),), 300.0, True),
    ],
)
def test_of_several_deadlines_the_smallest_wins(built, fields, deadline, stated):
    @virtual_time
    async def played():
        one = asked(built(""), "GET", b"/thing", *fields)
        assert one.deadline == pytest.approx(START + deadline)
        assert one.states_timeout is stated

    played()


@pytest.mark.parametrize(
    ("keys", "runs", "deadline"),
    [
        ("deadline: 10s", 5.0, 5.0),
        ("deadline: 10s", 50.0, 10.0),
        ("deadline: 10s", None, 10.0),
        ("deadline: 10s", -3.0, -3.0),
        ("mode: observe, deadline: 10s", 5.0, 5.0),
        ("mode: off, deadline: 10s", 5.0, None),
    ],
)
def test_a_runs_deadline_caps_its_calls(built, keys, runs, deadline):
    @virtual_time
    async def played():
        run = Run("scene~job", None, None if runs is None else START + runs)
        one = asked(built(keys), run=run)
        assert one.run is run
        assert one.deadline == (None if deadline is None else START + deadline)

    played()


@virtual_time
async def test_the_upstream_is_told_no_more_time_than_the_run_has(built):
    run = Run("scene~job", None, START + 5.0)
    one = asked(built(""), "GET", b"/thing", (b"X-Server-Timeout", b"60"), run=run)
    assert (one.deadline, one.states_timeout) == (START + 5.0, True)


@pytest.mark.parametrize("field", [b"x-blueprint-timeout-ms", b"X-Server-Timeout", b"grpc-timeout"])
def test_a_timeout_that_cannot_be_read_is_a_bad_request(built, field):
    @virtual_time
    async def played():
        with pytest.raises(Refusal) as refused:
            asked(built(""), "GET", b"/thing", (field, b"soon"))
        assert (refused.value.reason, refused.value.sent) == (Reason.BAD_REQUEST, False)

    played()


@virtual_time
async def test_a_body_over_the_limit_is_too_large(built):
    upstream = built("body: {limit: 10}")
    assert asked(upstream, "PUT", b"/", (b"Content-Length", b"10"), whole=b"1234567890").body == b"1234567890"
    with pytest.raises(Refusal) as refused:
        asked(upstream, "PUT", b"/", (b"Content-Length", b"11"), whole=None)
    assert (refused.value.reason, refused.value.status, refused.value.sent) == (Reason.TOO_LARGE, 413, False)


HURRIED = "deadline: 1s, timeouts: {connect: 1s, first_byte: 1s, idle: 1s, attempt: 1s}, body: {limit: 10}"


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_without_enforcing_no_limit_cuts_a_call(built, mode):
    @virtual_time
    async def played():
        one = asked(built(f"mode: {mode}, {HURRIED}"), "PUT", b"/", (b"Content-Length", b"99"), whole=None)
        limits = one.settings.timeouts
        assert (limits.first_byte, limits.idle, limits.attempt) == (None, None, None)
        assert limits.connect > 120
        one.body.feed(b"x" * 99)
        assert not one.body.over

    played()


@virtual_time
async def test_enforcing_the_configured_limits_are_in_force(built):
    limits = asked(built(HURRIED)).settings.timeouts
    assert (limits.connect, limits.first_byte, limits.idle, limits.attempt) == (1.0, 1.0, 1.0, 1.0)


@virtual_time
async def test_off_sets_no_deadline_and_reads_no_timeout(built):
    upstream = built("mode: off, deadline: 1s")
    one = asked(upstream, "GET", b"/", (b"X-Server-Timeout", b"soon"), (b"x-blueprint-timeout-ms", b"5"))
    assert (one.deadline, one.states_timeout) == (None, False)


@virtual_time
async def test_observing_keeps_the_deadline_to_be_recorded_and_sends_the_jobs_own_on_as_it_is(built, heard):
    upstream = built("mode: observe, deadline: 30s")
    one = asked(upstream, "GET", b"/", (b"X-Server-Timeout", b"7"))
    assert (one.deadline, one.states_timeout, one.policies.observing) == (START + 7.0, False, True)
    assert asked(upstream, "GET", b"/", (b"X-Server-Timeout", b"soon")).deadline == START + 30.0
    assert [event["what"] for event in heard.all("would_have")] == ["bad_request"]


@pytest.mark.parametrize(("mode", "way"), [("enforce", "guard"), ("observe", "guard"), ("off", "relay")])
def test_the_mode_chooses_the_way_through_the_layers(built, mode, way):
    @virtual_time
    async def played():
        upstream = built(f"mode: {mode}")
        taken = []
        upstream.pipelines.guard = lambda _: taken.append("guard")
        upstream.pipelines.relay = lambda _: taken.append("relay")
        upstream.send(asked(upstream))
        assert taken == [way]

    played()


KEYED = "kind: gemini, credential: {env: THE_KEY}"


@virtual_time
async def test_the_jobs_own_credential_is_dropped_wherever_it_stands(built):
    fields = ((b"X-Goog-Api-Key", b"own"), (b"Authorization", b"Bearer own"), (b"X-Kept", b"1"))
    one = asked(built(KEYED, THE_KEY="ours"), "GET", b"/v1beta/models?key=own&pageSize=3&%6bey=own", *fields)
    assert list(one.headers) == [(b"X-Kept", b"1")]
    assert one.target == b"/v1beta/models?pageSize=3"


@virtual_time
async def test_a_query_of_nothing_but_the_jobs_key_is_dropped_whole(built):
    assert asked(built(KEYED, THE_KEY="ours"), "GET", b"/v1beta/models?key=own").target == b"/v1beta/models"


@virtual_time
async def test_a_target_without_a_credential_stays_byte_exact(built):
    target = b"/v1beta/models?a=%6b&&b=key&monkey=1"
    assert asked(built(KEYED, THE_KEY="ours"), "GET", target).target == target


@virtual_time
async def test_the_field_that_ours_goes_up_in_is_never_the_jobs(built):
    text = 'credential: {env: THE_KEY, header: "x-api-key: {}"}'
    one = asked(built(text, THE_KEY="ours"), "GET", b"/", (b"X-API-Key", b"own"))
    assert one.headers.get(b"x-api-key") is None


@virtual_time
async def test_without_a_credential_of_ours_the_jobs_own_passes(built):
    one = asked(built(""), "GET", b"/?key=own", (b"Authorization", b"Bearer own"))
    assert (one.headers.get(b"authorization"), one.target) == (b"Bearer own", b"/?key=own")


@pytest.mark.parametrize(
    ("operation_class", "repeatable"), [("read_only", True), ("idempotent", True), ("unsafe", False)]
)
def test_the_operator_has_the_last_word_on_repeating(built, operation_class, repeatable):
    @virtual_time
    async def played():
        upstream = built(f"operations: {{POST /thing: {{class: {operation_class}}}}}")
        assert asked(upstream, "POST", b"/thing?x").repeatable is repeatable
        assert asked(upstream, "POST", b"/other").repeatable is False

    played()


@virtual_time
async def test_operations_share_the_upstreams_breaker_unless_a_pattern_sets_one(built):
    upstream = built("operations: {POST: {breaker: {consecutive: 1}}}")
    get, put, post = (asked(upstream, method).policies for method in ("GET", "PUT", "POST"))
    assert get.breaker is put.breaker is not post.breaker
    assert get.concurrency is post.concurrency
    assert set(upstream.breakers()) == {"", "POST"}


@virtual_time
async def test_names_that_jobs_make_up_are_remembered_up_to_a_bound(built):
    upstream = built("")
    for number in range(REMEMBERED + 50):
        asked(upstream, "GET", b"/", (b"x-blueprint-operation", b"name-%d" % number))
    assert len(upstream._by_operation) == REMEMBERED
    assert len(upstream.stateful) == 4


@virtual_time
async def test_a_reload_keeps_the_state_of_what_did_not_change(built):
    first = built("breaker: {consecutive: 3}")
    first.breakers()[""].force_open(START)
    second = built("breaker: {consecutive: 3}, retry: {attempts: 7}", first)
    assert second.breakers()[""].state(START) is State.FORCED_OPEN
    third = built("breaker: {consecutive: 4}", second)
    assert third.breakers()[""].state(START) is State.CLOSED


@virtual_time
async def test_state_that_no_call_asked_for_survives_two_reloads(built):
    text = "operations: {POST: {breaker: {consecutive: 1}}}"
    first = built(text)
    asked(first, "POST").policies.breaker.force_open(START)
    third = built(text, built(text, first))
    assert asked(third, "POST").policies.breaker.state(START) is State.FORCED_OPEN


@virtual_time
async def test_a_tick_lets_every_breaker_see_a_hang(built, heard):
    upstream = built("breaker: {age: 10s}")
    asked(upstream).policies.breaker.admit(START)
    upstream.tick(START + 11.0)
    assert [(event["new"], event["why"]) for event in heard.all("breaker_changed")] == [("open", "age")]


@virtual_time
async def test_only_a_body_that_may_be_sent_again_is_kept(built):
    upstream = built("body: {memory: 100}")
    for method, replayable in (("PUT", True), ("POST", False)):
        body = asked(upstream, method, b"/", (b"Content-Length", b"5"), whole=None).body
        body.feed(b"123")
        body.start(Taker())
        assert body.replayable is replayable


@virtual_time
async def test_a_small_body_is_kept_where_a_refused_credential_may_be_renewed(built, heard):
    upstream = built("body: {memory: 4}, credential: {secret: a-key}")
    for pieces, replayable in (([b"123"], True), ([b"123", b"45"], False)):
        body = asked(upstream, "POST", b"/", (b"Content-Length", b"5"), whole=None).body
        body.start(Taker())
        for piece in pieces:
            body.feed(piece)
        assert body.replayable is replayable
    assert heard.all("body_not_replayable") == []  # nobody was promised that it would be


class Taker:
    def body_data(self, data): ...
    def body_end(self, trailers): ...
    def body_failed(self, error): ...


@virtual_time
async def test_a_body_that_outgrows_what_is_kept_is_told(built, heard):
    upstream = built("body: {memory: 2, spool: 0}")
    asked(upstream, "PUT", b"/", (b"Content-Length", b"5"), whole=None).body.feed(b"12345")
    assert [(event["operation"], event["size"]) for event in heard.all("body_not_replayable")] == [("PUT", 5)]
    await asyncio.sleep(0)


def test_calls_that_hang_give_up_their_places_when_the_breaker_opens_on_their_age(built):
    @virtual_time
    async def played():
        upstream = built("concurrency: {limit: 1}, breaker: {age: 1s}")
        _, policies = upstream._look_up("GET", "GET", b"/")
        now = asyncio.get_running_loop().time()
        policies.concurrency.enter("hangs")
        policies.breaker.admit(now)
        upstream.tick(now + 2.0)
        assert policies.breaker.state(now + 2.0).value == "open"
        assert policies.concurrency.active == 0

    played()


@pytest.mark.parametrize(
    ("value", "trace"),
    [(b"00-" + b"ab" * 16 + b"-00f067aa0ba902b7-01", "ab" * 16), (b"00-nonsense", None), (b"", None)],
)
def test_a_call_joins_the_trace_that_its_job_names(built, value, trace):
    @virtual_time
    async def played():
        one = asked(built(""), "GET", b"/thing", (b"Traceparent", value))
        assert (one.trace.id if one.trace is not None else None) == trace
        assert one.headers.get(b"traceparent") == value

    played()


@virtual_time
async def test_a_function_meets_the_policies_of_calls_with_its_operations_name(built):
    upstream = built("operations: {estimate: {breaker: {consecutive: 1}}, 'POST /x': {mode: observe}}")
    _, own = upstream.in_force("estimate")
    _, rest = upstream.in_force("anything")
    assert own.breaker is not rest.breaker
    assert rest is asked(upstream).policies
