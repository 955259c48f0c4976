"""Who may go when: the rate, a hold after a 429, the places and their queue."""

import asyncio
from dataclasses import replace

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke
from blueprint_proxy.layers.admission import AdmitAttempts
from blueprint_proxy.layers.attempt import MakeAttempt
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.rate import TokenBucket
from blueprint_proxy.policies.retry import RetryPolicy
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.upstreams.http import HttpKind
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

THROTTLED = reply(429, b"", (b"Retry-After", b"10"))
UNTRIED = RetryPolicy(1, 0.0, 0.0, frozenset())


def admission(upstream, heard=None, *, chance=0.0):
    """The layer alone, with its verdicts made by the one inside."""
    sweep = Sweep(asyncio.get_running_loop())
    attempt = MakeAttempt(upstream, kind=HttpKind(), now=sweep.now)
    telemetry = (heard or Heard()).telemetry
    return AdmitAttempts(attempt, telemetry=telemetry, sweep=sweep, chance=lambda: chance)


def start(layer, one):
    return asyncio.get_running_loop().create_task(layer(one))


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_no_more_calls_are_at_the_upstream_than_its_limit():
    upstream = ScriptedUpstream(lambda _: reply(200, stream()))
    layer, shared = admission(upstream), policies(concurrency=Concurrency(2, 10))
    tasks = [start(layer, call(policies=shared)) for _ in range(5)]
    await asyncio.sleep(1)
    assert (len(upstream.calls), shared.concurrency.queued) == (2, 3)
    for task in tasks:
        (await task).body.end(None)
    assert (shared.concurrency.active, shared.concurrency.queued) == (0, 0)


@virtual_time
async def test_waiters_get_their_places_in_the_order_in_which_they_came():
    bodies = []

    def answer(_):
        bodies.append(stream())
        return reply(200, bodies[-1])

    upstream = ScriptedUpstream(answer)
    layer, shared = admission(upstream), policies(concurrency=Concurrency(1, 10))
    tasks = [start(layer, call(policies=shared, request_id=name)) for name in "abcd"]
    for turn in range(4):
        await asyncio.sleep(1)
        bodies[turn].end(None)
    await asyncio.gather(*tasks)
    assert [one.request_id for one in upstream.calls] == list("abcd")


@virtual_time
async def test_a_place_is_held_until_the_end_of_the_body():
    body = stream(b"first")
    shared = policies(concurrency=Concurrency(1, 0))
    await admission(ScriptedUpstream(reply(200, body)))(call(policies=shared))
    assert shared.concurrency.active == 1
    body.abandon()
    assert shared.concurrency.active == 0


@virtual_time
async def test_a_full_queue_is_overloaded_and_nothing_was_sent():
    layer, shared = admission(ScriptedUpstream("hang")), policies(concurrency=Concurrency(1, 1))
    tasks = [start(layer, call(policies=shared)) for _ in range(2)]
    await asyncio.sleep(1)
    with pytest.raises(Refusal) as refused:
        await layer(call(policies=shared))
    assert (refused.value.reason, refused.value.sent, refused.value.status) == (Reason.OVERLOADED, False, 503)
    for task in tasks:
        await cancelled(task)


@virtual_time
async def test_a_wait_in_the_queue_ends_at_its_timeout_as_overloaded():
    layer, shared = admission(ScriptedUpstream("hang")), policies(concurrency=Concurrency(1, 1))
    holder = start(layer, call(policies=shared))
    await asyncio.sleep(1)
    with pytest.raises(Refusal) as refused:
        await layer(call(policies=shared, settings=settings(queue_timeout=5.0)))
    assert (refused.value.reason, refused.value.sent) == (Reason.OVERLOADED, False)
    assert asyncio.get_running_loop().time() == pytest.approx(START + 6.0, abs=0.05)
    assert shared.concurrency.queued == 0
    await cancelled(holder)


@virtual_time
async def test_a_cancelled_waiter_leaves_the_queue():
    layer, shared = admission(ScriptedUpstream("hang")), policies(concurrency=Concurrency(1, 1))
    holder, waiter = start(layer, call(policies=shared)), start(layer, call(policies=shared))
    await asyncio.sleep(1)
    await cancelled(waiter)
    assert shared.concurrency.queued == 0
    await cancelled(holder)
    assert shared.concurrency.active == 0


@virtual_time
async def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_the_place_on():
    upstream = ScriptedUpstream("hang", 200)
    layer, shared = admission(upstream), policies(concurrency=Concurrency(1, 2))
    holder, second, third = (start(layer, call(policies=shared)) for _ in range(3))
    await asyncio.sleep(1)
    holder.cancel()
    second.cancel()
    assert (await third).status == 200
    assert shared.concurrency.active == 0


@virtual_time
async def test_a_cancelled_call_gives_its_place_back():
    layer, shared = admission(ScriptedUpstream("hang", 200)), policies(concurrency=Concurrency(1, 0))
    holder = start(layer, call(policies=shared))
    await asyncio.sleep(1)
    await cancelled(holder)
    assert (await layer(call(policies=shared))).status == 200


@virtual_time
async def test_a_failed_attempt_gives_its_place_back():
    shared = policies(concurrency=Concurrency(1, 0))
    with pytest.raises(UpstreamBroke):
        await admission(ScriptedUpstream(UpstreamBroke("reset", sent=True)))(call(policies=shared))
    assert shared.concurrency.active == 0


@virtual_time
async def test_calls_above_the_rate_go_one_interval_apart():
    upstream, shared = ScriptedUpstream(200), policies(rate=TokenBucket(2.0, 1))
    layer = admission(upstream)
    await asyncio.gather(*(layer(call(policies=shared)) for _ in range(4)))
    assert upstream.times == pytest.approx([START, START + 0.5, START + 1.0, START + 1.5])


@virtual_time
async def test_a_call_cancelled_while_it_waits_for_the_rate_gives_its_turn_back():
    shared = policies(rate=TokenBucket(0.1, 1))
    layer = admission(ScriptedUpstream(200))
    await layer(call(policies=shared))
    await cancelled_after_a_moment(layer, call(policies=shared))
    await layer(call(policies=shared))
    assert asyncio.get_running_loop().time() == pytest.approx(START + 10.0)


async def cancelled_after_a_moment(layer, one):
    task = start(layer, one)
    await asyncio.sleep(0.1)
    await cancelled(task)


@virtual_time
async def test_a_call_that_the_queue_refused_gives_its_turn_in_the_rate_back():
    shared = policies(rate=TokenBucket(0.1, 2), concurrency=Concurrency(1, 0))
    layer = admission(ScriptedUpstream("hang", 200))
    holder = start(layer, call(policies=shared))
    await asyncio.sleep(0.1)
    with pytest.raises(Refusal):
        await layer(call(policies=shared))
    await cancelled(holder)
    await layer(call(policies=shared))
    assert asyncio.get_running_loop().time() == pytest.approx(START + 0.1)


@virtual_time
async def test_a_call_that_was_refused_further_in_gives_its_turn_in_the_rate_back():
    def refuse(_):
        raise Refusal(Reason.FORBIDDEN, "no key", sent=False)

    shared = policies(rate=TokenBucket(0.1, 1))
    layer = admission(ScriptedUpstream(refuse, 200))
    with pytest.raises(Refusal):
        await layer(call(policies=shared))
    await layer(call(policies=shared))
    assert asyncio.get_running_loop().time() == START


@virtual_time
async def test_after_a_429_other_calls_wait_instead_of_failing():
    shared, upstream = policies(), ScriptedUpstream(THROTTLED, 200)
    layer = admission(upstream)
    await layer(call(policies=shared))
    assert (await layer(call(policies=shared, deadline=START + 60.0))).status == 200
    assert upstream.times == [START, START + 10.0]


@virtual_time
async def test_a_hold_that_comes_while_a_call_waits_for_the_rate_holds_it_too():
    shared = policies(rate=TokenBucket(0.5, 1))
    upstream = ScriptedUpstream(200)
    layer = admission(upstream)
    await layer(call(policies=shared))
    waiting = start(layer, call(policies=shared))
    await asyncio.sleep(1)
    shared.rate.throttled(START + 1, 30.0)
    await waiting
    assert upstream.times[-1] >= START + 31.0


@virtual_time
async def test_the_waiters_of_a_hold_come_back_spread_over_a_moment():
    shared, upstream = policies(), ScriptedUpstream(THROTTLED, 200)
    layer = admission(upstream, chance=1.0)
    await layer(call(policies=shared))
    await layer(call(policies=shared))
    assert upstream.times == [START, START + 10.25]


@virtual_time
async def test_the_spread_costs_no_call_its_deadline():
    shared, upstream = policies(), ScriptedUpstream(THROTTLED, 200)
    layer = admission(upstream, chance=1.0)
    await layer(call(policies=shared))
    assert (await layer(call(policies=shared, deadline=START + 10.1))).status == 200
    assert upstream.times[-1] == pytest.approx(START + 10.05)


@virtual_time
async def test_a_call_whose_deadline_ends_within_the_hold_is_rate_limited_at_once():
    shared = policies()
    layer = admission(ScriptedUpstream(THROTTLED, 200))
    await layer(call(policies=shared))
    with pytest.raises(Refusal) as refused:
        await layer(call(policies=shared, deadline=START + 5.0))
    assert (refused.value.reason, refused.value.sent, refused.value.status) == (Reason.RATE_LIMITED, False, 429)
    assert refused.value.retry_after == pytest.approx(10.0)
    assert asyncio.get_running_loop().time() == START


@virtual_time
async def test_a_429_halves_the_rate_and_successes_bring_it_back():
    shared = policies(rate=TokenBucket(10.0, 1), retry=UNTRIED)
    heard = Heard()
    layer = admission(ScriptedUpstream(429, 200), heard)
    given = settings(per_second=10.0)
    await layer(call(policies=shared, settings=given))
    assert shared.rate.rate == 5.0
    for _ in range(60):
        await layer(call(policies=shared, settings=given))
    assert shared.rate.rate == 10.0
    assert [event["rate"] for event in heard.all("rate_changed")] == [5.0, 10.0]


@virtual_time
async def test_a_429_that_changes_nothing_is_no_news():
    heard = Heard()
    await admission(ScriptedUpstream(429), heard)(call())
    assert heard.events == []


@virtual_time
async def test_a_second_429_within_a_second_is_no_news():
    shared, heard = policies(rate=TokenBucket(100.0, 10)), Heard()
    layer = admission(ScriptedUpstream(429), heard)
    await layer(call(policies=shared))
    await layer(call(policies=shared))
    assert len(heard.all("rate_changed")) == 1


@virtual_time
async def test_a_call_that_would_queue_for_an_open_breaker_is_refused_at_once():
    shared = policies(concurrency=Concurrency(1, 10), breaker=breaker(age=5.0, open_for=5.0))
    layers = pipelines(ScriptedUpstream("hang"), Heard())
    holder = start(layers.guard, call(policies=shared))
    await asyncio.sleep(6)
    shared.breaker.tick(asyncio.get_running_loop().time())
    with pytest.raises(Refusal) as refused:
        await layers.guard(call(policies=shared))
    assert (refused.value.reason, refused.value.retry_after) == (Reason.BREAKER_OPEN, 5.0)
    assert asyncio.get_running_loop().time() == START + 6
    await cancelled(holder)


@virtual_time
async def test_a_call_that_would_wait_for_the_rate_of_an_open_breaker_is_refused_at_once():
    shared = policies(rate=TokenBucket(0.1, 1), breaker=breaker())
    shared.breaker.force_open(START)
    layer = admission(ScriptedUpstream(200))
    await layer(call(policies=shared))
    with pytest.raises(Refusal) as refused:
        await layer(call(policies=shared))
    assert (refused.value.reason, refused.value.retry_after) == (Reason.BREAKER_OPEN, None)


@virtual_time
async def test_observing_neither_waits_nor_refuses_and_records_both():
    shared = replace(policies(rate=TokenBucket(0.1, 1), concurrency=Concurrency(1, 0)), observing=True)
    heard, upstream = Heard(), ScriptedUpstream("hang", 200)
    layer = admission(upstream, heard)
    holder = start(layer, call(policies=shared))
    await asyncio.sleep(0)
    assert (await layer(call(policies=shared))).status == 200
    assert [event["what"] for event in heard.all("would_have")] == ["rate_limited", "queue"]
    await cancelled(holder)
    assert shared.concurrency.active == 0
    assert asyncio.get_running_loop().time() == START


@virtual_time
async def test_a_queued_call_is_refused_when_the_breaker_opens():
    shared = policies(concurrency=Concurrency(1, 10), breaker=breaker())
    layers = pipelines(ScriptedUpstream("hang", "hang"), Heard())
    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(layers.guard(call(policies=shared)))
        await asyncio.sleep(0.01)
        queued = group.create_task(refused(layers.guard(call(policies=shared))))
        await asyncio.sleep(0.01)
        shared.breaker.force_open(asyncio.get_running_loop().time())
        assert (await queued).reason is Reason.BREAKER_OPEN
        assert shared.concurrency.queued == 0
        hanging.cancel()


async def refused(reply):
    with pytest.raises(Refusal) as caught:
        await reply
    return caught.value


@virtual_time
async def test_a_place_handed_over_as_an_era_ends_is_given_back_to_that_era():
    shared = policies(concurrency=Concurrency(1, 10), breaker=breaker())
    layers = pipelines(ScriptedUpstream("hang", 200, 200), Heard())
    async with asyncio.TaskGroup() as group:
        first = group.create_task(layers.guard(call(policies=shared)))
        await asyncio.sleep(0.01)
        queued = group.create_task(layers.guard(call(policies=shared)))
        await asyncio.sleep(0.01)
        first.cancel()
        for _ in range(10):
            if shared.concurrency.queued:
                await asyncio.sleep(0)
        assert shared.concurrency.queued == 0
        shared.concurrency.new_era()  # the place is handed over, and the queued call has not woken up yet
        assert (await queued).status == 200
    assert shared.concurrency.active == 0
    assert (await layers.guard(call(policies=shared))).status == 200
    assert shared.concurrency.active == 0
