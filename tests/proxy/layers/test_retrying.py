"""Which attempts are repeated, when, and what the job hears in the end: through all layers, on virtual time."""

import asyncio
import contextlib

import pytest

from blueprint_proxy.errors import (
    AttemptTimedOut,
    Reason,
    Refusal,
    UpstreamBroke,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from blueprint_proxy.policies.budget import RetryBudget
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.rate import TokenBucket
from blueprint_proxy.policies.retry import RetryPolicy
from support.scripted_upstream import (
    RETRY,
    START,
    Heard,
    ScriptedUpstream,
    breaker,
    call,
    pipelines,
    policies,
    reply,
    stream,
)
from support.virtual_time import virtual_time

REFUSED_CONNECTION = UpstreamUnreachable("connection refused")
RESET = UpstreamBroke("the upstream closed the connection before it replied", sent=True)


class Body:
    """A streamed request body, as far as layers look at it."""

    def __init__(self, *, replayable=True, over=True, length=5):
        self.replayable, self.over, self.length = replayable, over, length
        self.received, self.released = 5, 0

    def release(self):
        self.released += 1


async def guarded(upstream, one, *, heard=None, chance=0.0):
    return await pipelines(upstream, heard or Heard(), chance=chance).guard(one)


@virtual_time
async def test_two_503s_and_a_200_are_one_success_in_three_attempts():
    answer = await guarded(ScriptedUpstream(503, 503, 200), call())
    assert (answer.status, answer.attempts, answer.error) == (200, 3, None)


@virtual_time
async def test_the_waits_between_attempts_grow():
    upstream = ScriptedUpstream(503, 503, 200)
    await guarded(upstream, call(), chance=1.0)
    assert upstream.times == [START, START + 1.0, START + 3.0]


@virtual_time
async def test_a_failure_of_an_unsafe_post_passes_as_it_came():
    upstream = ScriptedUpstream(reply(503, b"try later"))
    answer = await guarded(upstream, call(method="POST", repeatable=False, body=b"12345"))
    assert (answer.status, answer.body, answer.attempts, answer.error) == (503, b"try later", 1, None)
    assert answer.source == "upstream"
    assert len(upstream.calls) == 1


@pytest.mark.parametrize(
    ("repeatable", "replayable", "listed", "attempts"),
    [(True, True, True, 2), (False, True, True, 1), (True, False, True, 1), (True, True, False, 1)],
)
def test_a_retry_needs_the_operation_the_body_and_the_failure_to_say_yes(repeatable, replayable, listed, attempts):
    @virtual_time
    async def played():
        upstream = ScriptedUpstream(503 if listed else 500, 200)
        answer = await guarded(upstream, call(repeatable=repeatable, body=Body(replayable=replayable)))
        assert answer.attempts == len(upstream.calls) == attempts
        assert answer.error is None

    played()


@virtual_time
async def test_when_attempts_run_out_the_last_real_answer_passes_and_says_so():
    upstream = ScriptedUpstream(reply(503, b"1"), reply(503, b"2"), reply(503, b"3"))
    answer = await guarded(upstream, call())
    assert (answer.status, answer.body, answer.attempts, answer.error) == (503, b"3", 3, "attempts_exhausted")


@virtual_time
async def test_after_a_real_answer_a_lost_connection_is_not_what_the_job_hears():
    answer = await guarded(ScriptedUpstream(reply(503, b"real"), REFUSED_CONNECTION), call())
    assert (answer.status, answer.body, answer.attempts, answer.error) == (503, b"real", 3, "attempts_exhausted")


@virtual_time
async def test_without_any_real_answer_the_upstream_is_unreachable():
    with pytest.raises(Refusal) as refused:
        await guarded(ScriptedUpstream(REFUSED_CONNECTION), call())
    assert refused.value.reason is Reason.UPSTREAM_UNREACHABLE
    assert (refused.value.attempts, refused.value.sent, refused.value.status) == (3, False, 502)


@virtual_time
async def test_an_unsafe_call_that_was_never_sent_is_repeated():
    answer = await guarded(ScriptedUpstream(REFUSED_CONNECTION, 201), call(method="POST", repeatable=False))
    assert (answer.status, answer.attempts) == (201, 2)


@pytest.mark.parametrize("error", [RESET, AttemptTimedOut("first_byte", 1.0, sent=True)])
def test_an_unsafe_call_that_may_have_been_executed_is_not_repeated_and_says_so(error):
    @virtual_time
    async def played():
        upstream = ScriptedUpstream(error)
        with pytest.raises(Refusal) as refused:
            await guarded(upstream, call(method="POST", repeatable=False))
        assert (refused.value.sent, refused.value.attempts, len(upstream.calls)) == (True, 1, 1)

    played()


@virtual_time
async def test_one_sent_attempt_among_unsent_ones_leaves_it_open_whether_anything_was_sent():
    with pytest.raises(Refusal) as refused:
        await guarded(ScriptedUpstream(RESET, REFUSED_CONNECTION), call())
    assert refused.value.sent is None


@virtual_time
async def test_a_hint_is_a_floor_for_the_wait():
    upstream = ScriptedUpstream(reply(503, b"", (b"Retry-After", b"7")), 200)
    await guarded(upstream, call())
    assert upstream.times == [START, START + 7.0]


@virtual_time
async def test_a_retry_info_in_the_body_is_a_hint():
    body = b'{"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26s"}]}}'
    upstream = ScriptedUpstream(reply(429, body), 200)
    await guarded(upstream, call())
    assert upstream.times == [START, START + 26.0]


@virtual_time
async def test_a_hint_beyond_the_deadline_fails_at_once_and_says_when_to_come_back():
    upstream = ScriptedUpstream(reply(429, b"slow down", (b"Retry-After", b"60")))
    answer = await guarded(upstream, call(deadline=START + 30.0))
    assert asyncio.get_running_loop().time() == START
    assert (answer.status, answer.body, answer.error, answer.retry_after) == (429, b"slow down", "rate_limited", 60.0)
    assert len(upstream.calls) == 1


@virtual_time
async def test_a_503_with_a_hint_beyond_the_deadline_is_given_up_at_once():
    answer = await guarded(ScriptedUpstream(reply(503, b"", (b"Retry-After", b"60"))), call(deadline=START + 30.0))
    assert asyncio.get_running_loop().time() == START
    assert (answer.status, answer.error, answer.attempts) == (503, "attempts_exhausted", 1)


@pytest.mark.parametrize("reason", [Reason.FORBIDDEN, Reason.OVERLOADED, Reason.BREAKER_OPEN, Reason.RATE_LIMITED])
def test_a_refusal_is_never_retried(reason):
    @virtual_time
    async def played():
        def refuse(_):
            raise Refusal(reason, "no", sent=False)

        upstream = ScriptedUpstream(refuse)
        with pytest.raises(Refusal):
            await guarded(upstream, call())
        assert len(upstream.calls) == 1

    played()


@virtual_time
async def test_a_breaker_that_our_own_attempts_tripped_does_not_hide_the_real_answer():
    one = call(policies=policies(breaker=breaker(consecutive=2)))
    upstream = ScriptedUpstream(reply(503, b"real"))
    answer = await guarded(upstream, one)
    assert (answer.status, answer.body, answer.error, answer.attempts) == (503, b"real", "attempts_exhausted", 2)
    assert answer.retry_after is not None


@virtual_time
async def test_a_refused_further_attempt_does_not_claim_that_nothing_was_sent():
    one = call(method="POST", policies=policies(breaker=breaker(consecutive=1)))
    with pytest.raises(Refusal) as refused:
        await guarded(ScriptedUpstream(RESET), one)
    assert refused.value.reason is Reason.BREAKER_OPEN
    assert (refused.value.sent, refused.value.attempts) == (None, 1)


@virtual_time
async def test_the_retry_budget_bounds_the_repeats_of_all_calls_together():
    shared = policies(budget=RetryBudget(0.0, 0.1), retry=RetryPolicy(9, 0.0, 0.0, RETRY.on))
    upstream = ScriptedUpstream(503)
    answers = [await guarded(upstream, call(policies=shared)) for _ in range(3)]
    assert len(upstream.calls) == 3 + 1
    assert [answer.error for answer in answers] == ["attempts_exhausted"] * 3


@virtual_time
async def test_a_call_that_waits_for_its_next_attempt_holds_no_place():
    shared = policies(concurrency=Concurrency(1, 0))
    upstream = ScriptedUpstream(reply(503, b"", (b"Retry-After", b"60")), 200)
    layers = pipelines(upstream, Heard())
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(layers.guard(call(policies=shared)))
        await asyncio.sleep(1)
        assert (await layers.guard(call(policies=shared))).status == 200
        assert not waiting.done()


@virtual_time
async def test_a_failure_too_large_to_keep_is_let_go_before_the_wait():
    large = stream(b"x" * 300_000)
    shared = policies(concurrency=Concurrency(1, 0), breaker=breaker())
    answer = await guarded(ScriptedUpstream(reply(503, large), 200), call(policies=shared))
    assert answer.status == 200
    assert large.over
    assert (shared.concurrency.active, shared.breaker.in_flight) == (0, 0)


@virtual_time
async def test_a_failure_too_large_to_keep_still_passes_when_it_is_the_answer():
    large = stream(b"x" * 300_000)
    answer = await guarded(ScriptedUpstream(reply(503, large)), call(repeatable=False))
    assert answer.body is large
    assert not large.over


@virtual_time
async def test_a_failure_whose_body_is_cut_short_is_a_failed_attempt():
    cut = stream(b"half")
    cut.fail(UpstreamTruncated("cut", sent=True))
    answer = await guarded(ScriptedUpstream(reply(503, cut), 200), call())
    assert (answer.status, answer.attempts) == (200, 2)


@pytest.mark.parametrize("steps", [(200,), (404,), (503,), (RESET,)])
def test_a_body_is_let_go_when_no_further_attempt_will_come(steps):
    @virtual_time
    async def played():
        body = Body()
        with contextlib.suppress(Refusal):
            await guarded(ScriptedUpstream(*steps), call(body=body))
        assert body.released == 1

    played()


@virtual_time
async def test_a_cancelled_call_makes_no_further_attempt():
    upstream = ScriptedUpstream(503)
    task = asyncio.get_running_loop().create_task(guarded(upstream, call(), chance=1.0))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(60)
    assert len(upstream.calls) == 1


@virtual_time
async def test_observing_records_the_retry_and_makes_none():
    heard = Heard()
    upstream = ScriptedUpstream(reply(503, b"as it came"))
    answer = await guarded(upstream, call(policies=policies(observing=True)), heard=heard)
    assert (answer.status, answer.body, answer.error, len(upstream.calls)) == (503, b"as it came", None, 1)
    assert [event["what"] for event in heard.all("would_have")] == ["retry"]


@virtual_time
async def test_observing_marks_no_answer_as_given_up():
    exhausted = RetryPolicy(1, 1.0, 8.0, RETRY.on)
    answer = await guarded(ScriptedUpstream(503), call(policies=policies(observing=True, retry=exhausted)))
    assert answer.error is None


@virtual_time
async def test_a_rate_that_refuses_a_further_attempt_leaves_the_real_answer():
    slow = policies(rate=TokenBucket(0.01, 1))
    answer = await guarded(ScriptedUpstream(reply(503, b"real")), call(policies=slow, deadline=START + 30.0))
    assert (answer.status, answer.body, answer.error) == (503, b"real", "attempts_exhausted")


@virtual_time
async def test_every_failed_attempt_and_every_decision_is_told():
    heard = Heard()
    await guarded(ScriptedUpstream(503, RESET, 200), call(), heard=heard)
    assert [(event["attempt"], event["fault"], event["sent"]) for event in heard.all("attempt_failed")] == [
        (1, "503", True),
        (2, "reset", True),
    ]
    assert len(heard.all("retry_scheduled")) == 2
