"""The job's patience: over attempts, waits and the reply's body."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamUnreachable
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.runs.run import Run
from blueprint_proxy.sweep import Sweep
from support.scripted_upstream import START, Heard, ScriptedUpstream, call, pipelines, policies, reply, stream
from support.virtual_time import virtual_time

GRAIN = 0.03


async def refused(upstream, **given):
    with pytest.raises(Refusal) as met:
        await pipelines(upstream, Heard(), chance=1.0).guard(call(**given))
    return met.value


def late(refusal):
    """It came at START + 10, no earlier, and says what it is."""
    assert (refusal.reason, refusal.status) == (Reason.DEADLINE_EXCEEDED, 504)
    assert START + 10.0 <= asyncio.get_running_loop().time() <= START + 10.0 + GRAIN
    return True


@virtual_time
async def test_a_hanging_attempt_ends_at_the_deadline():
    upstream = ScriptedUpstream("hang")
    refusal = await refused(upstream, deadline=START + 10.0)
    assert late(refusal)
    assert (refusal.attempts, upstream.in_flight) == (1, 0)


@virtual_time
async def test_an_unsafe_call_given_up_in_an_attempt_may_have_been_executed():
    refusal = await refused(ScriptedUpstream("hang"), deadline=START + 10.0, repeatable=False)
    assert refusal.sent is True


@virtual_time
async def test_of_a_repeatable_call_given_up_nothing_is_claimed():
    assert (await refused(ScriptedUpstream("hang"), deadline=START + 10.0)).sent is None


@virtual_time
async def test_the_deadline_covers_all_attempts_together():
    upstream = ScriptedUpstream(503, 503, "hang")
    refusal = await refused(upstream, deadline=START + 10.0)
    assert late(refusal)
    assert refusal.attempts == 3


@virtual_time
async def test_the_deadline_covers_a_wait_for_a_place_and_nothing_was_sent():
    shared = policies(concurrency=Concurrency(1, 5))
    layers = pipelines(ScriptedUpstream("hang"), Heard())
    holder = asyncio.get_running_loop().create_task(layers.guard(call(policies=shared)))
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as met:
        await layers.guard(call(policies=shared, deadline=START + 10.0, repeatable=False))
    assert late(met.value)
    assert (met.value.sent, met.value.attempts, shared.concurrency.queued) == (False, 0, 0)
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)


@virtual_time
async def test_a_call_that_never_left_this_host_says_so_at_its_deadline():
    shared = policies(concurrency=Concurrency(1, 5))
    layers = pipelines(ScriptedUpstream(UpstreamUnreachable("no route"), "hang"), Heard(), chance=1.0)
    task = asyncio.get_running_loop().create_task(
        layers.guard(call(policies=shared, deadline=START + 10.0, repeatable=False))
    )
    await asyncio.sleep(0.5)
    holder = asyncio.get_running_loop().create_task(layers.guard(call(policies=shared)))
    with pytest.raises(Refusal) as met:
        await task
    assert late(met.value)
    assert (met.value.sent, met.value.attempts) == (False, 1)
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)


@virtual_time
async def test_a_deadline_that_has_passed_costs_no_attempt():
    upstream = ScriptedUpstream(200)
    refusal = await refused(upstream, deadline=START)
    assert (refusal.reason, refusal.sent, refusal.attempts) == (Reason.DEADLINE_EXCEEDED, False, 0)
    assert upstream.calls == []


@virtual_time
async def test_the_deadline_breaks_a_body_off_in_its_middle():
    body = stream(b"first")
    await pipelines(ScriptedUpstream(reply(200, body)), Heard()).guard(call(deadline=START + 10.0))
    await asyncio.sleep(9.9)
    assert not body.over
    await asyncio.sleep(0.1 + GRAIN)
    assert isinstance(body.error, Refusal)
    assert body.error.reason is Reason.DEADLINE_EXCEEDED


@virtual_time
async def test_a_body_that_ended_in_time_is_left_alone():
    body = stream(b"all")
    await pipelines(ScriptedUpstream(reply(200, body)), Heard()).guard(call(deadline=START + 10.0))
    body.end(None)
    await asyncio.sleep(20)
    assert body.error is None


@virtual_time
async def test_nothing_is_left_in_the_sweep_of_a_body_that_ended():
    sweep, body = Sweep(asyncio.get_running_loop()), stream(b"all")
    layers = pipelines(ScriptedUpstream(reply(200, body)), Heard(), sweep=sweep)
    await layers.guard(call(deadline=START + 10.0))
    assert any(sweep._buckets.values())
    body.end(None)
    assert not any(sweep._buckets.values())


@virtual_time
async def test_a_reply_in_time_is_not_touched_later():
    assert (await pipelines(ScriptedUpstream(200), Heard()).guard(call(deadline=START + 10.0))).status == 200
    await asyncio.sleep(20)


@virtual_time
async def test_a_job_that_leaves_at_its_deadline_is_still_a_cancellation():
    task = asyncio.get_running_loop().create_task(
        pipelines(ScriptedUpstream("hang"), Heard()).guard(call(deadline=START + 10.0))
    )
    await asyncio.sleep(10.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_observing_cuts_nothing_and_records_what_it_would_have_cut():
    heard, body = Heard(), stream(b"first")
    layers = pipelines(ScriptedUpstream(reply(200, body)), heard)
    await layers.guard(call(deadline=START + 10.0, policies=policies(observing=True)))
    await asyncio.sleep(20)
    assert not body.over
    body.end(None)
    assert [event["what"] for event in heard.all("would_have")] == ["deadline_exceeded"]


@virtual_time
async def test_observing_records_nothing_of_a_call_in_time():
    heard = Heard()
    layers = pipelines(ScriptedUpstream(200), heard)
    await layers.guard(call(deadline=START + 10.0, policies=policies(observing=True)))
    await asyncio.sleep(20)
    assert heard.names() == ["call_finished"]


@virtual_time
async def test_a_deadline_that_is_the_runs_is_said_to_be():
    run = Run("scene~job", "00112233" * 4, START + 10.0)
    refusal = await refused(ScriptedUpstream("hang"), deadline=run.deadline, run=run)
    assert late(refusal)
    assert "the deadline of run scene~job#00112233 has passed" in refusal.message
    earlier = await refused(ScriptedUpstream("hang"), deadline=START + 9.0, run=run)
    assert earlier.message.startswith("the call's deadline")


@virtual_time
async def test_after_the_runs_deadline_nothing_is_sent():
    upstream = ScriptedUpstream(200)
    run = Run("scene~job", None, START - 5.0)
    refusal = await refused(upstream, deadline=run.deadline, run=run)
    assert (refusal.reason, refusal.sent, upstream.calls) == (Reason.DEADLINE_EXCEEDED, False, [])
    assert "the deadline of run scene~job has passed" in refusal.message
