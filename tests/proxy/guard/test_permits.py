"""The functions of a process: who is let in, what a permit is worth, and what is left of them in the end."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.guard.function import Ended, HandedOut, Told
from blueprint_proxy.guard.permits import Asked, UnknownPermit
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.policies.budget import RetryBudget
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.runs.run import Run
from support.scripted_upstream import START, breaker, call
from support.virtual_time import virtual_time

SUCCESS = Told("success")
FAILED = Told("failure")


@virtual_time
async def test_failures_of_functions_open_the_breaker_for_calls_that_pass_through(stage):
    staged = stage(breaker=breaker(consecutive=3))
    for _ in range(3):
        await staged.settle((await staged.ask()).permit, FAILED)
    with pytest.raises(Refusal) as refused:
        await staged.upstream.pipelines.guard(call(policies=staged.policies))
    assert refused.value.reason is Reason.BREAKER_OPEN
    assert staged.upstream.proxied.calls == []


@virtual_time
async def test_failures_of_calls_that_pass_through_refuse_functions(stage):
    staged = stage(breaker=breaker(consecutive=3))
    staged.upstream.proxied.steps = [500]
    for _ in range(3):
        await staged.upstream.pipelines.guard(call(policies=staged.policies))
    refused = (await staged.ask()).refusal
    assert (refused.reason, refused.retry_after, refused.sent) == (Reason.BREAKER_OPEN, 5.0, False)


@virtual_time
async def test_a_function_is_the_probe_that_closes_the_breaker(stage):
    staged = stage(breaker=breaker(consecutive=1))
    await staged.settle((await staged.ask()).permit, FAILED)
    await asyncio.sleep(6)
    probe = await staged.ask()
    assert (await staged.ask()).refusal.reason is Reason.BREAKER_OPEN
    await staged.settle(probe.permit, SUCCESS)
    assert staged.policies.breaker.state(START + 6) is State.CLOSED


@virtual_time
async def test_functions_and_calls_spend_one_retry_budget(stage):
    staged = stage(budget=RetryBudget(0.0, 0.1))
    staged.upstream.proxied.steps = [503, 200]
    await staged.upstream.pipelines.guard(call(policies=staged.policies))
    ended = await staged.settle((await staged.ask(repeatable=True)).permit, FAILED)
    assert ended.refusal.final
    assert [event["why"] for event in staged.heard.all("retry_abandoned")] == ["budget"]


@virtual_time
async def test_functions_and_calls_share_the_places_at_the_upstream(stage):
    staged = stage(concurrency=Concurrency(1, 1))
    handed = await staged.ask()
    passing = asyncio.get_running_loop().create_task(staged.upstream.pipelines.guard(call(policies=staged.policies)))
    await asyncio.sleep(1)
    assert not passing.done()
    await staged.settle(handed.permit, SUCCESS)
    assert (await passing).status == 200


@virtual_time
async def test_a_full_queue_refuses(stage):
    staged = stage(concurrency=Concurrency(1, 0))
    await staged.ask()
    assert (await staged.ask()).refusal.reason is Reason.OVERLOADED


@virtual_time
async def test_a_permit_is_settled_once(stage):
    staged = stage()
    handed = await staged.ask()
    await staged.settle(handed.permit, SUCCESS)
    with pytest.raises(UnknownPermit):
        staged.guard.settle("it", handed.permit, SUCCESS)


@virtual_time
async def test_of_two_outcomes_at_the_same_moment_the_first_counts(stage):
    staged = stage()
    handed = await staged.ask()
    first = staged.guard.settle("it", handed.permit, SUCCESS)
    with pytest.raises(UnknownPermit):
        staged.guard.settle("it", handed.permit, FAILED)
    assert (await first.turn()).reply.status == 200


@virtual_time
async def test_a_permit_of_another_upstream_is_unknown_and_stands(stage):
    staged = stage()
    handed = await staged.ask()
    with pytest.raises(UnknownPermit):
        staged.guard.settle("other", handed.permit, SUCCESS)
    assert await staged.settle(handed.permit, SUCCESS)


@virtual_time
async def test_an_expired_permit_is_unknown(stage):
    staged = stage()
    handed = await staged.ask(timeout=5.0)
    await asyncio.sleep(5)
    with pytest.raises(UnknownPermit):
        staged.guard.settle("it", handed.permit, SUCCESS)


@virtual_time
async def test_an_unknown_upstream_is_refused_with_those_there_are(stage):
    staged = stage()
    with pytest.raises(Refusal, match="there are: it") as refused:
        staged.guard.ask("nope", Asked("f", "r-1"))
    assert refused.value.reason is Reason.UNKNOWN_UPSTREAM
    assert staged.heard.names() == ["call_refused"]


@virtual_time
async def test_there_is_a_bound_to_functions_under_way(stage):
    staged = stage(most=2)
    one, _ = await staged.ask(), await staged.ask()
    with pytest.raises(Refusal) as refused:
        await staged.ask()
    assert refused.value.reason is Reason.OVERLOADED
    await staged.settle(one.permit, SUCCESS)
    assert isinstance(await staged.ask(), HandedOut)


@pytest.mark.parametrize(
    ("asked", "configured", "kinds_word", "again"),
    [
        (None, None, False, False),
        (None, None, True, True),
        (None, "idempotent", False, True),
        (None, "unsafe", True, False),
        (False, "read_only", True, False),
        (True, "unsafe", False, True),
    ],
)
def test_the_job_knows_best_what_may_be_repeated_then_the_configuration_then_the_kind(
    stage, asked, configured, kinds_word, again
):
    @virtual_time
    async def played():
        staged = stage(answers_only=kinds_word, of={"operation_class": configured})
        turn = await staged.settle((await staged.ask(repeatable=asked)).permit, FAILED)
        assert isinstance(turn, HandedOut) is again

    played()


@pytest.mark.parametrize(
    ("configured", "asked", "runs", "left"),
    [
        (None, None, None, None), (60.0, None, None, 60.0), (60.0, 5.0, None, 5.0), (5.0, 60.0, 3.0, 3.0),
        (None, 5.0, 60.0, 5.0),
    ],
)  # fmt: skip
def test_of_several_deadlines_the_smallest_wins(stage, configured, asked, runs, left):
    @virtual_time
    async def played():
        run = None if runs is None else Run("s~j", "0" * 32, START + runs)
        staged = stage(of={"deadline": configured}, runs=lambda _: run)
        assert (await staged.ask(timeout=asked)).deadline_in == left

    played()


@virtual_time
async def test_a_function_belongs_to_the_run_that_its_request_names(stage):
    run = Run("scene~job", "abcdef0123456789")
    staged = stage(runs={"abcdef0123456789": run, None: None}.__getitem__)
    await staged.settle((await staged.ask(run="abcdef0123456789")).permit, SUCCESS)
    await staged.settle((await staged.ask()).permit, SUCCESS)
    assert [event["run"] for event in staged.heard.all("call_finished")] == [run.name, None]
    assert run.tally.outcomes == {"ok": 1}


@virtual_time
async def test_the_end_of_a_run_ends_its_functions_and_no_others(stage):
    run = Run("scene~job", "abcdef0123456789")
    staged = stage(
        runs={"mine": run, None: None}.__getitem__, concurrency=Concurrency(2, 1), breaker=breaker(consecutive=1)
    )
    its, other = await staged.ask(run="mine"), await staged.ask()
    queued = asyncio.get_running_loop().create_task(staged.ask(run="mine"))
    await asyncio.sleep(1)
    staged.guard.end_run(run)
    assert (await queued).refusal.reason is Reason.FORBIDDEN
    with pytest.raises(UnknownPermit):
        staged.guard.settle("it", its.permit, SUCCESS)
    assert (await staged.settle(other.permit, SUCCESS)).reply.status == 200
    assert staged.policies.breaker.state(START + 1) is State.CLOSED
    staged.assert_nothing_is_left()


@virtual_time
async def test_a_drain_lets_functions_end_and_begins_none(stage):
    staged = stage()
    handed = await staged.ask(repeatable=True)
    staged.guard.drain()
    with pytest.raises(Refusal) as refused:
        await staged.ask()
    assert (refused.value.reason, refused.value.sent) == (Reason.DRAINING, False)
    assert not staged.guard.quiet.is_set()
    again = await staged.settle(handed.permit, FAILED)
    await staged.settle(again.permit, SUCCESS)
    assert staged.guard.quiet.is_set()


@virtual_time
async def test_an_abort_ends_what_waits_and_what_is_out(stage):
    staged = stage(concurrency=Concurrency(1, 1))
    await staged.ask()
    queued = asyncio.get_running_loop().create_task(staged.ask())
    await asyncio.sleep(1)
    staged.guard.abort()
    assert (await queued).refusal.reason is Reason.DRAINING
    await staged.guard.quiet.wait()
    staged.assert_nothing_is_left()


@virtual_time
async def test_the_jobs_own_request_id_is_kept_and_a_strange_one_replaced(stage):
    guard = stage().guard
    assert guard.request_id("job-1.a_B") == "job-1.a_B"
    made = [guard.request_id(given) for given in (None, "", "a b", "x" * 129, "ä")]
    assert len(set(made)) == 5


@virtual_time
async def test_many_functions_at_once_leave_nothing_behind(stage):
    staged = stage(concurrency=Concurrency(4, 100))
    words = ["success", "failure", "throttled", "rejected", "unknown"]

    async def one(number):
        turn = await staged.ask(repeatable=number % 2 == 0)
        while isinstance(turn, HandedOut):
            await asyncio.sleep(number % 3)
            turn = await staged.settle(turn.permit, Told(words[(number + turn.attempt) % 5]))
        assert isinstance(turn, Ended)

    await asyncio.gather(*(one(number) for number in range(80)))
    staged.assert_nothing_is_left()
