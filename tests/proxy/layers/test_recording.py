"""Exactly one word about every call, whatever ends it."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.errors import JobLeft, Reason, Refusal, UpstreamTruncated, UpstreamUnreachable
from blueprint_proxy.layers.recording import RecordCalls
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.retry import RetryPolicy
from blueprint_proxy.runs.run import Run
from support.scripted_upstream import START, Heard, ScriptedUpstream, call, pipelines, policies, reply, stream
from support.virtual_time import virtual_time

HEADS = st.sampled_from([200, 204, 301, 400, 404, 429, 500, 503])
ENDINGS = st.one_of(
    HEADS.map(lambda status: ("whole", status)),
    st.tuples(st.just("streamed"), HEADS, st.sampled_from(["end", "cut", "job leaves", "deadline", "whole before"])),
    st.tuples(
        st.just("raised"),
        st.sampled_from(
            [
                UpstreamUnreachable("refused"),
                Refusal(Reason.FORBIDDEN, "no key", sent=False),
                JobLeft("gone"),
                ValueError("a defect"),
                asyncio.CancelledError(),
            ]
        ),
    ),
    st.just(("cancelled",)),
    st.just(("deadline",)),
)


async def play(layers, ending):
    """One call that ends as `ending` says, through all layers."""
    how, *details = ending
    body = stream(b"first")
    steps = {"whole": details[:1], "streamed": [reply(details[0], body) if details else 200], "raised": details[:1]}
    step = steps.get(how, ["hang"])[0]

    def play_step(_):
        if isinstance(step, BaseException):
            raise step
        return step

    layers.upstream.steps = [play_step]
    if how == "streamed" and details[1] == "whole before":
        body.end(None)
    task = asyncio.get_running_loop().create_task(
        layers.guard(call(repeatable=False, deadline=asyncio.get_running_loop().time() + 10.0))
    )
    if how == "streamed" and details[0] >= 400:
        await asyncio.sleep(1)
    elif how == "cancelled":
        await asyncio.sleep(1)
        task.cancel()
    if how == "streamed":
        await finish(body, details[1], task)
    await asyncio.gather(task, return_exceptions=True)


async def finish(body, way, task):
    await asyncio.sleep(1)
    if way == "end":
        body.end(None)
    elif way == "cut":
        body.fail(UpstreamTruncated("cut", sent=True))
    elif way == "job leaves":
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        body.abandon()
    elif way == "deadline":
        await asyncio.sleep(10)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENDINGS, min_size=1, max_size=4))
def test_every_call_is_finished_exactly_once_and_none_stays_in_flight(endings):
    @virtual_time
    async def played():
        heard, upstream = Heard(), ScriptedUpstream()
        layers = pipelines(upstream, heard)
        layers.upstream = upstream
        for ending in endings:
            await play(layers, ending)
        assert len(heard.all("call_finished")) == len(endings)
        assert layers.in_flight == 0

    played()


@virtual_time
async def test_a_call_with_a_body_on_its_way_is_in_flight():
    body = stream(b"first")
    layers = pipelines(ScriptedUpstream(reply(200, body)), Heard())
    await layers.guard(call())
    assert layers.in_flight == 1
    body.end(None)
    assert layers.in_flight == 0


async def finished(upstream, heard=None, **given):
    heard = heard or Heard()
    with contextlib.suppress(Refusal, JobLeft):
        await pipelines(upstream, heard).guard(call(**given))
    (event,) = heard.all("call_finished")
    return event


@pytest.mark.parametrize(("step", "outcome"), [(200, "ok"), (404, "client_error"), (429, "throttled"), (500, "failed")])
def test_the_outcome_is_what_the_job_saw(step, outcome):
    @virtual_time
    async def played():
        event = await finished(ScriptedUpstream(step), repeatable=False)
        assert (event["outcome"], event["status"], event["attempts"]) == (outcome, step, 1)
        assert event["source"] == "upstream"

    played()


@virtual_time
async def test_a_refusal_carries_the_status_that_the_job_saw_and_its_reason():
    event = await finished(ScriptedUpstream(UpstreamUnreachable("refused")))
    assert (event["outcome"], event["status"], event["reason"]) == ("refused", 502, "upstream_unreachable")
    assert (event["attempts"], event["source"]) == (3, "proxy")


@virtual_time
async def test_a_status_of_its_own_is_the_one_that_is_told():
    def refuse(_):
        raise Refusal(Reason.BAD_REQUEST, "no", status=421)

    assert (await finished(ScriptedUpstream(refuse)))["status"] == 421


@virtual_time
async def test_a_refusal_is_told_once_as_a_refusal():
    heard = Heard()
    await finished(ScriptedUpstream(UpstreamUnreachable("refused")), heard)
    assert [event["reason"] for event in heard.all("call_refused")] == ["upstream_unreachable"]


@virtual_time
async def test_a_deadline_is_the_calls_outcome_and_no_refusal_besides():
    heard = Heard()
    event = await finished(ScriptedUpstream("hang"), heard, deadline=START + 1.0)
    assert (event["outcome"], event["status"], event["attempts"]) == ("deadline", 504, 1)
    assert heard.all("call_refused") == []


@virtual_time
async def test_a_body_cut_short_is_told_with_what_came_of_it():
    heard, body = Heard(), stream(b"first")
    layers = pipelines(ScriptedUpstream(reply(200, body)), heard)
    await layers.guard(call())
    body.fail(UpstreamTruncated("cut", sent=True))
    (event,) = heard.all("call_finished")
    assert (event["outcome"], event["bytes_out"]) == ("truncated", 5)
    assert [event["received"] for event in heard.all("reply_truncated")] == [5]


@virtual_time
async def test_a_cancelled_call_tells_its_attempts():
    heard = Heard()
    task = asyncio.get_running_loop().create_task(pipelines(ScriptedUpstream("hang"), heard).guard(call()))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (event,) = heard.all("call_finished")
    assert (event["outcome"], event["status"], event["attempts"], event["duration"]) == ("cancelled", 0, 1, 1.0)


@virtual_time
async def test_a_defect_of_ours_passes_and_the_call_is_over():
    def defect(_):
        raise ZeroDivisionError

    heard = Heard()
    record = RecordCalls(ScriptedUpstream(defect), telemetry=heard.telemetry, now=lambda: START)
    with pytest.raises(ZeroDivisionError):
        await record(call())
    assert record.in_flight == 0
    assert [event["outcome"] for event in heard.all("call_finished")] == ["failed"]


@virtual_time
async def test_bytes_of_both_bodies_are_told():
    event = await finished(ScriptedUpstream(reply(200, b"123")), body=b"12345", policies=policies())
    assert (event["bytes_in"], event["bytes_out"]) == (5, 3)


@virtual_time
async def test_a_call_is_told_and_counted_for_its_run_and_never_by_the_leases_id():
    heard, run = Heard(), Run("scene~job", "00112233" * 4)
    upstream = ScriptedUpstream(reply(200, b"12345"), UpstreamUnreachable("refused"))
    layers = pipelines(upstream, heard)
    await layers.guard(call(run=run, body=b"123"))
    with pytest.raises(Refusal):
        await layers.guard(
            call(run=run, repeatable=False, policies=policies(retry=RetryPolicy(1, 0.0, 0.0, frozenset())))
        )
    assert [event["run"] for event in heard.all("call_finished")] == ["scene~job#00112233"] * 2
    assert run.tally.outcomes == {"ok": 1, "refused": 1}
    assert (run.tally.attempts, run.tally.bytes_in, run.tally.bytes_out) == (2, 3, 5)
    assert "00112233" * 4 not in repr(heard.events)


@virtual_time
async def test_what_a_call_went_through_is_told():
    heard, loop = Heard(), asyncio.get_running_loop()
    shared = policies(concurrency=Concurrency(1, 1))
    layers = pipelines(ScriptedUpstream("hang", reply(503, b"", (b"retry-after", b"4")), 200), heard)
    hanging = loop.create_task(layers.guard(call(policies=shared)))
    await asyncio.sleep(1)
    waiting = loop.create_task(layers.guard(call(policies=shared, deadline=START + 30.0)))
    await asyncio.sleep(2)
    hanging.cancel()
    await asyncio.wait([hanging])
    await waiting
    await layers.guard(call(policies=shared, repeatable=False))
    _, one, two = heard.all("call_finished")
    assert (one["queued"], one["deadline"], one["repeatable"]) == (2.0, 30.0, True)
    assert one["tries"] == [{"fault": "503", "verdict": "retryable", "duration": 2.0, "wait": 4.0}]
    assert (two["queued"], two["deadline"], two["repeatable"], two["tries"]) == (0.0, None, False, [])


@pytest.mark.parametrize(
    ("deadline", "outcome"), [(None, "cancelled"), (START + 5.0, "cancelled"), (START + 1.02, "deadline")]
)
@virtual_time
async def test_a_job_that_leaves_at_its_deadline_has_met_it(deadline, outcome):
    heard = Heard()
    layer = RecordCalls(ScriptedUpstream("hang"), telemetry=heard.telemetry, now=asyncio.get_running_loop().time)
    calling = asyncio.get_running_loop().create_task(layer(call(deadline=deadline)))
    await asyncio.sleep(1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [event["outcome"] for event in heard.all("call_finished")] == [outcome]
