"""The wheel of alarms, and limits on it."""

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.sweep import GRAIN, PURGE_EVERY, Limit, Sweep
from support.virtual_time import virtual_time

FLOAT = 1e-9
"""Seconds by which sums of floats may be off."""


def timers(loop):
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def a_sweep():
    return Sweep(asyncio.get_running_loop())


@settings(max_examples=40, deadline=None)
@given(delays=st.lists(st.floats(-1.0, 3.0), min_size=1, max_size=20), cancelled=st.sets(st.integers(0, 19)))
def test_an_alarm_rings_once_never_early_and_at_most_a_grain_late(delays, cancelled):
    @virtual_time
    async def run():
        sweep, start, rung = a_sweep(), sweep_now(), []
        alarms = [
            sweep.at(start + delay, lambda number=number: rung.append((number, sweep.now())))
            for number, delay in enumerate(delays)
        ]
        for number in cancelled & set(range(len(delays))):
            alarms[number].cancel()
        await asyncio.sleep(4.5)
        assert sorted(number for number, _ in rung) == sorted(set(range(len(delays))) - cancelled)
        for number, at in rung:
            due = max(start + delays[number], start)
            assert due - FLOAT <= at <= due + GRAIN + FLOAT
        assert [at for _, at in rung] == sorted(at for _, at in rung)

    run()


def sweep_now():
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_loop_that_was_busy_rings_all_that_is_overdue_in_order():
    loop, rung = asyncio.get_running_loop(), []
    sweep = a_sweep()
    start = sweep.now()
    for delay in (3.0, 1.0, 0.5):
        sweep.at(start + delay, lambda delay=delay: rung.append(delay))
    loop._now += 2.0
    await asyncio.sleep(GRAIN)
    assert rung == [0.5, 1.0]
    loop._now += 5.0
    await asyncio.sleep(GRAIN)
    assert rung == [0.5, 1.0, 3.0]


@virtual_time
async def test_an_empty_wheel_has_no_timer():
    loop, sweep = asyncio.get_running_loop(), a_sweep()
    assert timers(loop) == []
    sweep.at(sweep.now() + 1, lambda: None)
    sweep.at(sweep.now() + 2, lambda: None)
    assert len(timers(loop)) == 1
    await asyncio.sleep(3)
    assert timers(loop) == []


@virtual_time
async def test_a_wheel_whose_alarms_were_all_cancelled_loses_its_timer_and_its_buckets_within_a_second():
    loop, sweep = asyncio.get_running_loop(), a_sweep()
    for delay in range(500):
        sweep.at(sweep.now() + 600 + delay, lambda: None).cancel()
    await asyncio.sleep((PURGE_EVERY + 2) * GRAIN)
    assert timers(loop) == []
    assert sweep._buckets == {}


@virtual_time
async def test_a_purge_leaves_alarms_that_still_have_to_ring():
    sweep, rung = a_sweep(), []
    alarm = sweep.at(sweep.now() + 5, lambda: rung.append("cancelled"))
    sweep.at(sweep.now() + 5, lambda: rung.append("rung"))
    await asyncio.sleep(2.5)
    alarm.cancel()
    await asyncio.sleep(3)
    assert rung == ["rung"]


@virtual_time
async def test_a_wheel_that_was_empty_rings_again():
    sweep, rung = a_sweep(), []
    sweep.at(sweep.now(), lambda: rung.append(1))
    await asyncio.sleep(10)
    sweep.at(sweep.now() + 1, lambda: rung.append(2))
    await asyncio.sleep(0.9)
    assert rung == [1]
    await asyncio.sleep(0.2)
    assert rung == [1, 2]


@virtual_time
async def test_an_alarm_cancelled_by_one_that_rings_with_it_does_not_ring():
    sweep, rung, alarms = a_sweep(), [], []

    def ring():
        rung.append("once")
        for alarm in alarms:
            alarm.cancel()

    when = sweep.now() + 1
    alarms += [sweep.at(when, ring), sweep.at(when, ring)]
    await asyncio.sleep(2)
    assert rung == ["once"]


@virtual_time
async def test_an_alarm_that_has_rung_can_be_cancelled():
    sweep, rung = a_sweep(), []
    alarm = sweep.at(sweep.now(), lambda: rung.append(1))
    await asyncio.sleep(1)
    alarm.cancel()
    assert rung == [1]


@pytest.mark.parametrize("ahead", [-5.0, 0.0, GRAIN / 2, 1.0])
def test_an_alarm_may_set_alarms(ahead):
    @virtual_time
    async def run():
        sweep, rung = a_sweep(), []

        def ring():
            rung.append(sweep.now())
            if len(rung) < 3:
                sweep.at(sweep.now() + ahead, ring)

        sweep.at(sweep.now(), ring)
        await asyncio.sleep(4)
        assert len(rung) == 3
        for before, after in itertools.pairwise(rung):
            assert max(ahead, FLOAT) - FLOAT <= after - before <= max(ahead, 0) + GRAIN + FLOAT

    run()


def test_an_alarm_that_raises_takes_none_beside_it_along():
    @virtual_time
    async def run():
        loop, rung = asyncio.get_running_loop(), []
        failures = []
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        sweep = a_sweep()

        def fail():
            rung.append("failed")
            raise ZeroDivisionError

        start = sweep.now()
        for _ in range(3):
            sweep.at(start + 1, fail)
            sweep.at(start + 1, lambda: rung.append("rung"))
        sweep.at(start + 2, lambda: rung.append("later"))
        await asyncio.sleep(3)
        assert sorted(rung) == ["failed"] * 3 + ["later"] + ["rung"] * 3
        assert [type(failure) for failure in failures] == [ZeroDivisionError] * 3

    run()


# Limit: what asyncio.timeout_at does, on the wheel


class RanOutError(Exception):
    pass


def limit(sweep, seconds, error=RanOutError):
    return Limit(sweep, None if seconds is None else sweep.now() + seconds, error)


@virtual_time
async def test_a_body_that_takes_too_long_ends_with_the_limits_error():
    sweep = a_sweep()
    start = sweep.now()
    with pytest.raises(RanOutError) as raised, limit(sweep, 1):
        await asyncio.sleep(60)
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
    assert 1 - FLOAT <= sweep.now() - start <= 1 + GRAIN + FLOAT
    assert asyncio.current_task().cancelling() == 0


@virtual_time
async def test_a_body_within_its_limit_is_left_alone_and_leaves_no_alarm():
    sweep = a_sweep()
    with limit(sweep, 1):
        await asyncio.sleep(0.5)
    await asyncio.sleep(2)
    assert not any(sweep._buckets.values())


@virtual_time
async def test_no_limit_is_none():
    sweep = a_sweep()
    with limit(sweep, None):
        await asyncio.sleep(60)
    assert sweep._buckets == {}


@virtual_time
async def test_an_error_of_the_body_passes_as_it_is():
    with pytest.raises(ZeroDivisionError), limit(a_sweep(), 1):
        raise ZeroDivisionError
    await asyncio.sleep(2)


@virtual_time
async def test_an_error_in_place_of_the_cancellation_passes_and_the_task_is_not_left_cancelled():
    async def work(sweep):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    sweep = a_sweep()
    with pytest.raises(ZeroDivisionError), limit(sweep, 1):
        await work(sweep)
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)


@virtual_time
async def test_a_cancellation_from_outside_stays_one():
    async def work():
        with limit(a_sweep(), 10):
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work())
        await asyncio.sleep(1)
        working.cancel()
    assert working.cancelled()


@pytest.mark.parametrize("first", ["limit", "outside"])
def test_a_cancellation_from_outside_in_the_same_tick_stays_one(first):
    @virtual_time
    async def run():
        loop = asyncio.get_running_loop()

        async def work():
            with limit_at_hand:
                await asyncio.sleep(60)

        limit_at_hand = limit(a_sweep(), 30)
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(work())
            await asyncio.sleep(1)
            both = [limit_at_hand._expire, working.cancel]
            for cancel in both if first == "limit" else reversed(both):
                loop.call_soon(cancel)
        assert working.cancelled()

    run()


@virtual_time
async def test_a_task_that_was_cancelled_before_the_limit_keeps_that_count():
    seen = []

    async def work(sweep):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            with pytest.raises(RanOutError), limit(sweep, 1):
                await asyncio.sleep(60)
            seen.append(asyncio.current_task().cancelling())
            raise

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work(a_sweep()))
        await asyncio.sleep(1)
        working.cancel()
    assert seen == [1]
    assert working.cancelled()


class OuterError(Exception):
    pass


@pytest.mark.parametrize(("inner", "outer", "expected"), [(1, 2, RanOutError), (2, 1, OuterError), (1, 1, OuterError)])
def test_of_two_nested_limits_the_one_that_ran_out_speaks_and_of_both_the_outer(inner, outer, expected):
    @virtual_time
    async def run():
        sweep = a_sweep()
        with pytest.raises(expected), limit(sweep, outer, OuterError), limit(sweep, inner):
            await asyncio.sleep(60)
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    run()


@pytest.mark.parametrize("kind", ["asyncio", "wheel"])
@pytest.mark.parametrize("order", ["result first", "limit first"])
def test_a_body_that_finishes_in_the_tick_of_the_limit_ends_as_under_asyncio(kind, order):
    @virtual_time
    async def run():
        loop = asyncio.get_running_loop()
        result = loop.create_future()
        seen = []

        async def under_asyncio():
            try:
                async with asyncio.timeout(60) as timeout:
                    expire.append(lambda: timeout.reschedule(loop.time()))
                    seen.append(await result)
            except TimeoutError:
                seen.append("ran out")

        async def on_the_wheel():
            try:
                with limit(a_sweep(), 60) as at_hand:
                    expire.append(lambda: loop.call_soon(at_hand._expire))
                    seen.append(await result)
            except RanOutError:
                seen.append("ran out")

        def finish():
            if not result.done():
                result.set_result("whole")

        expire = []
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(under_asyncio() if kind == "asyncio" else on_the_wheel())
            await asyncio.sleep(0)
            both = [lambda: loop.call_soon(finish), expire[0]]
            for act in both if order == "result first" else reversed(both):
                act()
        assert not working.cancelled()
        assert seen == ["ran out"]

    run()


@virtual_time
async def test_a_limit_that_expired_while_its_body_swallowed_the_cancellation_raises_nothing():
    with limit(a_sweep(), 1), contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0


@virtual_time
async def test_a_limit_in_the_past_ends_the_body_at_its_first_wait():
    sweep = a_sweep()
    with pytest.raises(RanOutError), limit(sweep, -1):
        await asyncio.sleep(60)


def test_a_limit_outside_a_task_is_refused():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError), Limit(Sweep(loop), 0.0, RanOutError):
            pass
    finally:
        loop.close()
