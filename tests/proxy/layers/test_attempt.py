"""One attempt: what goes up of the deadline, and what its outcome means."""

import asyncio
import gzip
import zlib

import pytest

from blueprint_proxy.calls import Reply, Verdict
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.layers.attempt import WHOLE_FAILURE, MakeAttempt, hint
from blueprint_proxy.telemetry.tracing import Trace
from blueprint_proxy.upstreams.gemini import GeminiKind
from blueprint_proxy.upstreams.http import HttpKind
from support.scripted_upstream import START, Heard, ScriptedUpstream, call, pipelines, reply, stream
from support.virtual_time import virtual_time


def attempt(upstream):
    return MakeAttempt(upstream, kind=HttpKind(), now=asyncio.get_running_loop().time)


def stated(**given):
    fields = Fields.of([(b"X-Server-Timeout", b"600"), (b"X-Other", b"kept"), (b"Grpc-Timeout", b"10M")])
    return call(headers=fields, states_timeout=True, **given)


@virtual_time
async def test_each_attempt_is_told_what_is_left_of_the_deadline():
    upstream = ScriptedUpstream(reply(503, b"", (b"Retry-After", b"4")), 200)
    await pipelines(upstream, Heard()).guard(stated(deadline=START + 10.0))
    assert [dict(one.headers) for one in upstream.calls] == [
        {b"X-Server-Timeout": b"10", b"X-Other": b"kept", b"Grpc-Timeout": b"10000m"},
        {b"X-Server-Timeout": b"6", b"X-Other": b"kept", b"Grpc-Timeout": b"6000m"},
    ]


@virtual_time
async def test_without_a_deadline_the_fields_pass_as_they_came():
    upstream = ScriptedUpstream(200)
    one = stated()
    await attempt(upstream)(one)
    assert upstream.calls[0] is one


@virtual_time
async def test_a_deadline_of_ours_adds_no_field_to_a_call_that_stated_none():
    upstream = ScriptedUpstream(200)
    one = call(deadline=START + 10.0, headers=Fields.of([(b"X-Server-Timeout", b"600")]))
    await attempt(upstream)(one)
    assert upstream.calls[0] is one


TRACED = Fields.of([(b"A", b"1"), (b"TraceParent", b"as it came"), (b"tracestate", b"v=1"), (b"B", b"2")])


@virtual_time
async def test_each_attempt_of_a_traced_call_is_a_child_of_its_own():
    upstream = ScriptedUpstream(503, 200)
    await pipelines(upstream, Heard()).guard(call(headers=TRACED, trace=Trace("ab" * 16, 1)))
    parents = [one.headers.get(b"traceparent") for one in upstream.calls]
    assert all(parent.startswith(b"00-" + b"ab" * 16) and parent.endswith(b"-01") for parent in parents)
    assert len(set(parents)) == 2
    assert [name for name, _ in upstream.calls[0].headers] == [b"A", b"TraceParent", b"tracestate", b"B"]
    assert upstream.calls[0].headers.get(b"tracestate") == b"v=1"


@virtual_time
async def test_a_trace_that_cannot_be_read_passes_as_it_came():
    upstream = ScriptedUpstream(200)
    await pipelines(upstream, Heard()).guard(call(headers=TRACED))
    assert upstream.calls[0].headers is TRACED


@virtual_time
async def test_relaying_leaves_the_trace_alone():
    upstream = ScriptedUpstream(200)
    await pipelines(upstream, Heard()).relay(call(headers=TRACED, trace=Trace("ab" * 16, 1)))
    assert upstream.calls[0].headers is TRACED


@virtual_time
async def test_the_trace_stands_in_what_is_told_of_a_call():
    heard = Heard()
    await pipelines(ScriptedUpstream(503, 200), heard).guard(call(headers=TRACED, trace=Trace("ab" * 16, 1)))
    assert [event["trace"] for event in heard.all("attempt_failed") + heard.all("call_finished")] == ["ab" * 16] * 2


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.OK), (304, Verdict.OK), (404, Verdict.FATAL), (429, Verdict.THROTTLED), (500, Verdict.RETRYABLE),
        (501, Verdict.FATAL), (503, Verdict.RETRYABLE), (505, Verdict.FATAL),
    ],
)  # fmt: skip
def test_the_kind_says_what_a_status_means(status, verdict):
    @virtual_time
    async def played():
        assert (await attempt(ScriptedUpstream(status))(call())).verdict is verdict

    played()


@virtual_time
async def test_a_failures_body_is_read_whole_and_is_still_the_answer():
    body = stream(b"try ")
    task = asyncio.get_running_loop().create_task(attempt(ScriptedUpstream(reply(503, body)))(call()))
    await asyncio.sleep(1)
    body.feed(b"later")
    body.end(None)
    assert (await task).body == b"try later"


@virtual_time
async def test_a_failure_beyond_the_bound_stays_a_stream_with_every_byte():
    body = stream(b"x" * WHOLE_FAILURE, b"yz")
    answer = await attempt(ScriptedUpstream(reply(503, body)))(call())
    assert answer.body is body
    body.end(None)
    assert await body.whole(1 << 20) == b"x" * WHOLE_FAILURE + b"yz"


@pytest.mark.parametrize("status", [200, 404])
def test_what_no_retry_needs_streams_on_at_once(status):
    @virtual_time
    async def played():
        body = stream(b"first")
        assert (await attempt(ScriptedUpstream(reply(status, body)))(call())).body is body

    played()


@virtual_time
async def test_relaying_passes_a_failure_on_as_it_comes():
    body = stream(b"first")
    answer = await pipelines(ScriptedUpstream(reply(503, body)), Heard()).relay(call())
    assert answer.body is body


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        ((), b"", None),
        (((b"Retry-After", b"7"),), b"", 7.0),
        (((b"retry-after-ms", b"250"),), b"", 0.25),
        (((b"Retry-After", b"1"), (b"Retry-After-Ms", b"2500")), b"", 2.5),
        (((b"Retry-After", b"soon"),), b"", None),
        (
            ((b"Retry-After", b"1"),),
            b'{"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "9s"}]}}',
            9.0,
        ),
        (((b"Retry-After", b"Thu, 01 Jan 1970 00:00:00 GMT"),), b"", 0.0),
    ],
)
def test_the_longest_hint_counts(fields, body, expected):
    assert hint(reply(503, body, *fields)) == expected


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"x-gzip", b"identity"])
def test_a_retry_info_in_a_coded_body_is_found(coding):
    body = b'{"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}]}}'
    coded = {b"gzip": gzip.compress, b"x-gzip": gzip.compress, b"deflate": zlib.compress}.get(coding, bytes)(body)
    assert hint(Reply(429, Fields.of([(b"Content-Encoding", coding)]), coded)) == 3.0


def test_a_body_that_only_claims_to_be_coded_has_no_hint():
    assert hint(Reply(429, Fields.of([(b"Content-Encoding", b"gzip")]), b"retryDelay")) is None
    assert hint(Reply(429, Fields.of([(b"Content-Encoding", b"br")]), b"retryDelay")) is None


@pytest.mark.parametrize(
    ("signed", "relaying", "rejected"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_a_refused_credential_is_marked_where_it_was_ours_and_is_not_only_relayed(signed, relaying, rejected):
    @virtual_time
    async def played():
        body = stream(gzip.compress(b"who are you?"))
        body.end(Fields())
        upstream = ScriptedUpstream(reply(401, body, (b"Content-Encoding", b"gzip")))
        now = asyncio.get_running_loop().time
        answer = await MakeAttempt(upstream, kind=HttpKind(), now=now, relaying=relaying, signed=signed)(call())
        assert (answer.rejected, answer.verdict) == (rejected, Verdict.FATAL)
        assert isinstance(answer.body, bytes) is rejected

    played()


@pytest.mark.parametrize(("kind", "status", "rejected"), [(HttpKind(), 401, True), (GeminiKind(), 400, False)])
def test_a_refusal_too_long_to_read_stays_as_it_comes_and_is_known_by_its_status_alone(kind, status, rejected):
    @virtual_time
    async def played():
        body = stream(b"x" * (WHOLE_FAILURE + 1))
        now = asyncio.get_running_loop().time
        answer = await MakeAttempt(ScriptedUpstream(reply(status, body)), kind=kind, now=now, signed=True)(call())
        assert (answer.rejected, answer.body) == (rejected, body)

    played()
