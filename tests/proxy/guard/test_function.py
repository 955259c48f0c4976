"""One guarded function: what its job is handed, and what becomes of what the job tells."""

import asyncio
from dataclasses import replace

import pytest

from blueprint_proxy.errors import Reason
from blueprint_proxy.guard.function import UNTOLD, Ended, HandedOut, Told, at_the_job
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.sweep import GRAIN
from support.scripted_upstream import START, breaker, call
from support.virtual_time import virtual_time

FAILED = Told("failure")
UNREACHED = Told("failure", sent=False)
SUCCESS = Told("success")


def outcomes(staged):
    return [event["outcome"] for event in staged.heard.all("call_finished")]


async def tell(staged, told, **asked):
    """A function from its permit to the turn that its outcome brings."""
    handed = await staged.ask(**asked)
    assert isinstance(handed, HandedOut), handed
    return await staged.settle(handed.permit, told)


@virtual_time
async def test_a_function_that_went_well_ends_and_is_recorded_as_the_jobs_own_word(stage):
    staged = stage()
    ended = await tell(staged, SUCCESS, operation="estimate")
    assert ended.refusal is None
    finished = staged.heard.all("call_finished")[0]
    assert (finished["upstream"], finished["operation"], finished["source"]) == ("it", "estimate", "job")
    assert (finished["outcome"], finished["status"], finished["attempts"]) == ("ok", 200, 1)
    staged.assert_nothing_is_left()


@virtual_time
async def test_a_permit_says_its_attempt_and_for_how_long_it_stands(stage):
    staged = stage()
    handed = await staged.ask(timeout=30.0)
    assert handed[1:] == (1, 30.0 - GRAIN, 30.0)


@virtual_time
async def test_the_attempts_own_limit_bounds_a_permit_before_the_deadline_does(stage):
    staged = stage()
    staged.upstream.settings = _with_attempt_limit(staged.upstream.settings, 7.0)
    assert (await staged.ask(timeout=30.0)).expires_in == 7.0
    assert (await staged.ask()).expires_in == 7.0


@virtual_time
async def test_a_permit_that_nothing_bounds_has_a_bound_all_the_same(stage):
    assert (await stage().ask())[2:] == (UNTOLD, None)


@virtual_time
async def test_two_permits_are_never_the_same_and_long_enough_not_to_be_guessed(stage):
    staged = stage()
    permits = [(await staged.ask()).permit for _ in range(50)]
    assert len(set(permits)) == 50
    assert min(map(len, permits)) >= 22


@pytest.mark.parametrize(
    ("told", "outcome", "state"),
    [
        (SUCCESS, "ok", State.CLOSED),
        (Told("rejected"), "client_error", State.CLOSED),
        (Told("throttled"), "throttled", State.CLOSED),
        (Told("unknown"), "cancelled", State.CLOSED),
        (Told("failure", status=404), "client_error", State.CLOSED),
        (Told("failure", status=429), "throttled", State.CLOSED),
        (Told("failure", status=500), "failed", State.OPEN),
        (Told("failure", status=200), "refused", State.OPEN),
        (FAILED, "refused", State.OPEN),
        (UNREACHED, "refused", State.OPEN),
    ],
    ids=str,
)
def test_what_the_job_tells_is_judged_as_a_reply_would_be(stage, told, outcome, state):
    @virtual_time
    async def played():
        staged = stage(breaker=breaker(consecutive=1))
        staged.upstream.policies = _once(staged.policies)
        await tell(staged, told)
        assert outcomes(staged) == [outcome]
        assert staged.policies.breaker.state(START) is state
        staged.assert_nothing_is_left()

    played()


@virtual_time
async def test_a_failure_is_repeated_after_a_back_off_that_holds_no_place(stage):
    staged = stage(concurrency=Concurrency(1, 0))
    first = await staged.ask(repeatable=True)
    waiting = asyncio.get_running_loop().create_task(staged.settle(first.permit, FAILED))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (staged.policies.concurrency.active, waiting.done()) == (0, False)
    second = await waiting
    assert second.attempt == 2
    assert second.permit != first.permit
    assert (await staged.settle(second.permit, SUCCESS)).reply.attempts == 2


@virtual_time
async def test_a_repeat_waits_for_as_long_as_the_function_was_asked_to(stage):
    staged = stage()
    again = await tell(staged, Told("throttled", retry_after=4.0), repeatable=True)
    assert isinstance(again, HandedOut)
    assert asyncio.get_running_loop().time() == START + 4.0


@virtual_time
async def test_a_wait_beyond_the_deadline_is_not_begun(stage):
    staged = stage()
    ended = await tell(staged, Told("throttled", retry_after=40.0), repeatable=True, timeout=30.0)
    assert (ended.reply.error, ended.reply.retry_after) == (Reason.RATE_LIMITED.value, 40.0)
    assert asyncio.get_running_loop().time() == START


@virtual_time
async def test_the_deadline_covers_every_attempt_and_the_waits_between(stage):
    staged = stage()
    await asyncio.sleep(0)
    first = await staged.ask(repeatable=True, timeout=30.0)
    await asyncio.sleep(10)
    second = await staged.settle(first.permit, Told("throttled", retry_after=5.0))
    assert (second.deadline_in, second.expires_in) == (15.0, 15.0 - GRAIN)


@pytest.mark.parametrize(
    ("told", "again"),
    [(FAILED, False), (UNREACHED, True), (Told("failure", status=503), False), (Told("throttled"), False)],
    ids=str,
)
def test_a_function_that_may_not_be_repeated_is_so_only_if_nothing_was_sent(stage, told, again):
    @virtual_time
    async def played():
        assert isinstance(await tell(stage(), told), HandedOut) is again

    played()


@virtual_time
async def test_a_function_left_without_an_answer_is_not_repeated_and_moves_no_breaker(stage):
    staged = stage(breaker=breaker(consecutive=1))
    assert await tell(staged, Told("unknown"), repeatable=True) == Ended()
    assert staged.policies.breaker.state(START) is State.CLOSED
    staged.assert_nothing_is_left()


@virtual_time
async def test_attempts_end_and_the_end_says_why(stage):
    staged = stage()
    handed = await staged.ask(repeatable=True)
    for attempt in (1, 2, 3):
        assert handed.attempt == attempt
        handed = await staged.settle(handed.permit, FAILED)
    assert (handed.refusal.reason, handed.refusal.final) == (Reason.UPSTREAM_UNREACHABLE, True)
    assert handed.refusal.attempts == 3


@virtual_time
async def test_a_permit_that_nobody_settles_expires_as_a_hang_and_gives_its_place_back(stage):
    staged = stage(breaker=breaker(consecutive=1), concurrency=Concurrency(1, 1))
    await staged.ask(repeatable=True, timeout=30.0)
    queued = asyncio.get_running_loop().create_task(staged.ask())
    await asyncio.sleep(29.9)
    assert (staged.policies.breaker.state(START + 29.9), queued.done()) == (State.CLOSED, False)
    await asyncio.sleep(0.2)
    now = asyncio.get_running_loop().time()
    assert staged.policies.breaker.state(now) is State.OPEN
    assert isinstance(await queued, Ended)  # the breaker opened, and nobody waits for one that is open
    failed = staged.heard.all("attempt_failed")[0]
    assert (failed["fault"], failed["sent"]) == ("timeout", True)
    assert "did not tell" in failed["message"]
    staged.assert_nothing_is_left()


@virtual_time
async def test_an_expired_function_is_not_repeated_for_nobody_would_run_it(stage):
    staged = stage()
    await staged.ask(repeatable=True, timeout=30.0)
    await asyncio.sleep(300)
    assert staged.heard.names() == ["attempt_failed", "retry_abandoned", "call_refused", "call_finished"]
    assert staged.policies.budget.spent(START + 300) == 0


@virtual_time
async def test_a_long_function_is_no_hang(stage):
    staged = stage(breaker=breaker(age=45.0, slow_call=1.0, slow_ratio=0.1, min_calls=1))
    handed = await staged.ask(timeout=300.0)
    await asyncio.sleep(200)
    staged.policies.breaker.tick(START + 200)
    await staged.settle(handed.permit, SUCCESS)
    assert staged.policies.breaker.state(START + 200) is State.CLOSED


@virtual_time
async def test_a_wait_for_a_turn_that_is_cancelled_gives_everything_back(stage):
    staged = stage(concurrency=Concurrency(1, 1))
    handed = await staged.ask(repeatable=True)
    queued = asyncio.get_running_loop().create_task(staged.ask())
    await asyncio.sleep(1)
    queued.cancel()
    backing_off = asyncio.get_running_loop().create_task(staged.settle(handed.permit, Told("throttled", retry_after=9)))
    await asyncio.sleep(1)
    backing_off.cancel()
    await asyncio.gather(queued, backing_off, return_exceptions=True)
    await asyncio.sleep(0)
    assert outcomes(staged) == ["cancelled", "cancelled"]
    staged.assert_nothing_is_left()


@virtual_time
async def test_what_ends_while_its_outcome_is_being_told_answers_with_its_end(stage):
    staged = stage()
    handed = await staged.ask()
    function = staged.guard.settle("it", handed.permit, SUCCESS)
    function.cancel(None)
    assert await function.turn() == Ended()


@virtual_time
async def test_an_outcome_that_comes_between_a_cancellation_and_its_end_is_harmless(stage):
    staged = stage()
    handed = await staged.ask()
    staged.guard.abort()
    ended = await staged.settle(handed.permit, SUCCESS)
    assert ended.refusal.reason is Reason.DRAINING
    staged.assert_nothing_is_left()


@virtual_time
async def test_in_mode_observe_nobody_is_refused_repeated_or_expired_by_a_deadline(stage):
    staged = stage(observing=True, concurrency=Concurrency(1, 0), breaker=breaker(consecutive=1))
    staged.upstream.settings = _in_mode(staged.upstream.settings, "observe")
    one, two = await staged.ask(timeout=1.0), await staged.ask(repeatable=True)
    assert (one.expires_in, one.deadline_in) == (UNTOLD, None)
    await asyncio.sleep(5)
    ended = await staged.settle(two.permit, FAILED)
    assert isinstance(ended, Ended)
    assert isinstance(await staged.ask(), HandedOut)
    await staged.settle(one.permit, SUCCESS)
    assert {event["what"] for event in staged.heard.all("would_have")} == {
        "queue", "retry", "deadline_exceeded", "breaker_open",
    }  # fmt: skip


@virtual_time
async def test_in_mode_off_there_is_one_attempt_and_no_policy(stage):
    staged = stage(concurrency=Concurrency(1, 0), breaker=breaker(consecutive=1))
    staged.upstream.settings = _in_mode(staged.upstream.settings, "off")
    one, two = await staged.ask(timeout=1.0), await staged.ask(repeatable=True)
    assert (one.expires_in, one.deadline_in) == (UNTOLD, None)
    assert isinstance(await staged.settle(two.permit, UNREACHED), Ended)
    await staged.settle(one.permit, SUCCESS)
    assert outcomes(staged) == ["refused", "ok"]
    staged.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("ServiceUnavailable: 503 try later", ": ServiceUnavailable"),
        ("requests.exceptions.ConnectionError", ": requests.exceptions.ConnectionError"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", ""),
        ("cannot reach https://host/?key=hunter2", ""),
        ("", ""),
    ],
)
def test_of_a_functions_message_only_the_errors_class_is_kept(stage, message, named):
    @virtual_time
    async def played():
        staged = stage()
        await tell(staged, Told("failure", message=message))
        assert staged.heard.all("attempt_failed")[0]["message"] == f"the job's function failed{named}"

    played()


@virtual_time
async def test_a_wait_is_bounded_as_a_replys_would_be(stage):
    ended = await tell(stage(), Told("throttled", retry_after=1e12), repeatable=True)
    assert ended.reply.retry_after == 7 * 86_400.0


@virtual_time
async def test_a_call_that_is_no_function_has_no_business_here():
    with pytest.raises(TypeError):
        await at_the_job(call())


@virtual_time
async def test_a_defect_of_ours_reaches_the_log_and_who_waits(stage):
    staged = stage()
    loop = asyncio.get_running_loop()
    staged.upstream.kind = _Broken()
    handed = await staged.ask()
    with pytest.raises(ZeroDivisionError):
        await staged.settle(handed.permit, Told("failure", status=503))
    assert [type(failure) for failure in loop.failures] == [ZeroDivisionError]
    loop.failures.clear()
    staged.assert_nothing_is_left()


class _Broken:
    def judge(self, _call, _reply):
        raise ZeroDivisionError


def _with_attempt_limit(of, limit):
    return replace(of, timeouts=replace(of.timeouts, attempt=limit))


def _in_mode(of, mode):
    return replace(of, mode=mode)


def _once(given):
    return replace(given, retry=replace(given.retry, attempts=1))
