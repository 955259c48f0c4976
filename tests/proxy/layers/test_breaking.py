"""What a breaker hears of each attempt, and what the job hears of an open one."""

import asyncio

import pytest

from blueprint_proxy.errors import (
    JobLeft,
    Reason,
    Refusal,
    UpstreamBroke,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.retry import RetryPolicy
from support.scripted_upstream import (
    START,
    Heard,
    ScriptedUpstream,
    breaker,
    call,
    pipelines,
    policies,
    reply,
    settings,
    stream,
)
from support.virtual_time import virtual_time

ONCE = RetryPolicy(1, 0.0, 0.0, frozenset())


def touchy(**given):
    """One failure opens it."""
    return policies(retry=ONCE, breaker=breaker(consecutive=1, **given))


async def play(step, shared, **given):
    return await pipelines(ScriptedUpstream(step), Heard()).guard(call(policies=shared, **given))


def state(shared):
    return shared.breaker.state(asyncio.get_running_loop().time())


@pytest.mark.parametrize("step", [500, 503, 502])
def test_a_failing_answer_counts_against_the_upstream(step):
    @virtual_time
    async def played():
        shared = touchy()
        await play(step, shared)
        assert state(shared) is State.OPEN

    played()


@pytest.mark.parametrize(
    "error", [UpstreamUnreachable("refused"), UpstreamBroke("reset", sent=True), UpstreamBroke("no", sent=False)]
)
def test_an_attempt_without_an_answer_counts_against_the_upstream(error):
    @virtual_time
    async def played():
        shared = touchy()
        with pytest.raises(Refusal):
            await play(error, shared)
        assert state(shared) is State.OPEN
        assert shared.breaker.in_flight == 0

    played()


@pytest.mark.parametrize("step", [200, 204, 301, 400, 401, 403, 404, 409, 429, 501])
def test_what_is_not_the_upstreams_fault_never_counts(step):
    @virtual_time
    async def played():
        shared = touchy()
        await play(step, shared)
        assert (state(shared), shared.breaker.in_flight) == (State.CLOSED, 0)

    played()


@virtual_time
async def test_a_refusal_of_ours_never_counts():
    def refuse(_):
        raise Refusal(Reason.FORBIDDEN, "no key", sent=False)

    shared = touchy()
    with pytest.raises(Refusal):
        await play(refuse, shared)
    assert (state(shared), shared.breaker.in_flight) == (State.CLOSED, 0)


@virtual_time
async def test_a_job_that_leaves_before_the_reply_never_counts():
    shared = touchy()
    task = asyncio.get_running_loop().create_task(play("hang", shared))
    await asyncio.sleep(1)
    assert shared.breaker.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (state(shared), shared.breaker.in_flight) == (State.CLOSED, 0)


@virtual_time
async def test_a_job_that_breaks_its_upload_off_never_counts():
    def left(_):
        raise JobLeft("the job closed its connection in the middle of the request's body")

    shared = touchy()
    with pytest.raises(JobLeft):
        await play(left, shared)
    assert (state(shared), shared.breaker.in_flight) == (State.CLOSED, 0)


@virtual_time
async def test_a_wait_in_the_queue_is_no_call_in_flight():
    shared = policies(concurrency=Concurrency(1, 5), breaker=breaker())
    layers = pipelines(ScriptedUpstream("hang"), Heard())
    loop = asyncio.get_running_loop()
    given = settings(queue_timeout=5.0)
    tasks = [loop.create_task(layers.guard(call(policies=shared, settings=given))) for _ in range(3)]
    await asyncio.sleep(1)
    assert shared.breaker.in_flight == 1
    await asyncio.sleep(10)
    assert state(shared) is State.CLOSED
    tasks[0].cancel()
    assert [type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError,
        Refusal,
        Refusal,
    ]


@virtual_time
async def test_a_streamed_success_counts_at_the_end_of_its_body():
    shared, body = touchy(), stream(b"first")
    await play(reply(200, body), shared)
    assert shared.breaker.in_flight == 1
    body.end(None)
    assert (state(shared), shared.breaker.in_flight) == (State.CLOSED, 0)


@virtual_time
async def test_a_body_cut_in_its_middle_counts_against_the_upstream():
    shared, body = touchy(), stream(b"first")
    await play(reply(200, body), shared)
    assert state(shared) is State.CLOSED
    body.fail(UpstreamTruncated("cut", sent=True))
    assert state(shared) is State.OPEN


@pytest.mark.parametrize("error", [None, Refusal(Reason.DEADLINE_EXCEEDED, "here")])
def test_a_body_that_we_or_the_job_break_off_never_counts(error):
    @virtual_time
    async def played():
        shared, body = touchy(), stream(b"first")
        await play(reply(200, body), shared)
        body.abandon(error)
        assert (state(shared), shared.breaker.in_flight) == (State.CLOSED, 0)

    played()


@virtual_time
async def test_a_job_that_leaves_a_failures_body_does_not_undo_the_failure():
    shared, body = touchy(), stream(b"x" * 300_000)
    await play(reply(503, body), shared, repeatable=False)
    body.abandon()
    assert state(shared) is State.OPEN


@virtual_time
async def test_an_open_breaker_refuses_at_once_says_when_and_that_nothing_was_sent():
    shared, upstream = touchy(open_for=5.0), ScriptedUpstream(503)
    layers = pipelines(upstream, Heard())
    await layers.guard(call(policies=shared))
    await asyncio.sleep(2)
    with pytest.raises(Refusal) as refused:
        await layers.guard(call(policies=shared))
    assert refused.value.reason is Reason.BREAKER_OPEN
    assert (refused.value.retry_after, refused.value.sent, refused.value.status) == (pytest.approx(3.0), False, 503)
    assert (refused.value.attempts, len(upstream.calls)) == (0, 1)


@virtual_time
async def test_a_hang_opens_the_breaker_at_its_age_and_recovery_needs_no_more_than_the_permitted_probes():
    shared = policies(retry=ONCE, breaker=breaker(age=10.0, open_for=5.0, probes=2))
    upstream = ScriptedUpstream("hang")
    layers, loop = pipelines(upstream, Heard()), asyncio.get_running_loop()
    hanging = [loop.create_task(layers.guard(call(policies=shared))) for _ in range(50)]
    await asyncio.sleep(10.5)
    shared.breaker.tick(loop.time())
    assert state(shared) is State.OPEN
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    await asyncio.sleep(5)
    upstream.steps = [lambda _: reply(200, stream())]
    upstream.calls.clear()
    probes = await asyncio.gather(*(layers.guard(call(policies=shared)) for _ in range(50)), return_exceptions=True)
    answers = [answer for answer in probes if not isinstance(answer, Refusal)]
    assert len(upstream.calls) == len(answers) == 2
    for answer in answers:
        answer.body.end(None)
    assert state(shared) is State.CLOSED


@virtual_time
async def test_a_cancelled_probe_gives_its_place_back():
    shared = touchy(open_for=5.0)
    upstream = ScriptedUpstream(503, "hang", 200)
    layers = pipelines(upstream, Heard())
    await layers.guard(call(policies=shared))
    await asyncio.sleep(6)
    probe = asyncio.get_running_loop().create_task(layers.guard(call(policies=shared)))
    await asyncio.sleep(1)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert (await layers.guard(call(policies=shared))).status == 200


class Upload:
    over, replayable, received = False, False, 0

    def __init__(self, length):
        self.length = length

    def release(self):
        pass


@pytest.mark.parametrize(("length", "expected"), [(None, State.CLOSED), (1 << 30, State.CLOSED), (1000, State.OPEN)])
def test_a_long_upload_is_no_hang(length, expected):
    @virtual_time
    async def played():
        shared = policies(breaker=breaker(age=10.0))
        task = asyncio.get_running_loop().create_task(play("hang", shared, body=Upload(length)))
        await asyncio.sleep(30)
        shared.breaker.tick(START + 30)
        assert state(shared) is expected
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    played()


@virtual_time
async def test_observing_lets_the_call_through_an_open_breaker_and_records_it():
    heard = Heard()
    shared = policies(retry=ONCE, breaker=breaker(consecutive=1), observing=True)
    layers = pipelines(ScriptedUpstream(503, 200), heard)
    await layers.guard(call(policies=shared))
    answer = await layers.guard(call(policies=shared))
    assert (answer.status, answer.attempts) == (200, 1)
    assert [event["what"] for event in heard.all("would_have")] == ["breaker_open"]
