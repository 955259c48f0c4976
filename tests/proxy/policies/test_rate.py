"""How fast attempts go to an upstream."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.policies.rate import TokenBucket


def at_floor():
    bucket = TokenBucket(100.0, 1)
    for second in range(10):
        bucket.throttled(float(second), None)
    return bucket


def test_a_burst_of_3_goes_at_once_and_the_rest_a_tenth_of_a_second_apart():
    bucket = TokenBucket(10.0, 3)
    assert [bucket.reserve(50.0) for _ in range(6)] == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


def test_a_long_pause_saves_no_more_than_the_burst():
    bucket = TokenBucket(10.0, 3)
    bucket.reserve(50.0)
    assert [bucket.reserve(5000.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_a_reservation_given_back_is_the_next_ones():
    bucket = TokenBucket(1.0, 1)
    assert [bucket.reserve(50.0) for _ in range(3)] == [0.0, 1.0, 2.0]
    bucket.give_back(50.0)
    assert bucket.reserve(50.0) == 2.0


def test_100_cancelled_reservations_leave_no_queue_behind():
    bucket = TokenBucket(1.0, 1)
    for _ in range(100):
        bucket.reserve(50.0)
    for _ in range(100):
        bucket.give_back(50.0)
    assert bucket.reserve(50.0) == 0.0


def test_a_429_halves_the_rate_once_a_second():
    bucket = TokenBucket(100.0, 10)
    for now in (50.0, 50.2, 50.9, 51.0, 51.5):
        bucket.throttled(now, None)
    assert bucket.rate == 25.0


def test_no_storm_of_429s_slows_100_a_second_below_5():
    assert at_floor().rate == 5.0


def test_a_429_takes_the_saved_burst_away():
    bucket = TokenBucket(10.0, 5)
    bucket.throttled(50.0, None)
    assert [bucket.reserve(50.0) for _ in range(3)] == pytest.approx([0, 0.2, 0.4])


def test_1000_successes_are_enough_for_100_a_second_to_come_back_from_the_floor():
    bucket = at_floor()
    for _ in range(1000):
        bucket.succeeded(20.0)
    assert bucket.rate == 100.0


def test_success_never_raises_the_rate_above_the_configured_one():
    bucket = TokenBucket(0.05, 1)
    bucket.throttled(50.0, None)
    bucket.succeeded(51.0)
    assert bucket.rate == 0.05


def test_a_rate_that_rises_from_1_to_20_a_second_does_not_turn_11_saved_calls_into_more():
    bucket = TokenBucket(20.0, 100)
    for second in range(10):
        bucket.throttled(float(second), None)
    for _ in range(190):
        bucket.succeeded(19.0)
    assert bucket.rate == pytest.approx(20.0)
    assert sum(bucket.reserve(19.0 + 1e-6) == 0.0 for _ in range(30)) == 11


def test_a_hint_of_26_s_holds_everybody_and_they_come_back_one_slot_apart():
    bucket = TokenBucket(10.0, 5)
    bucket.throttled(50.0, 26.0)
    assert bucket.held_for(50.0) == 26.0
    assert [bucket.reserve(51.0) for _ in range(3)] == pytest.approx([25.0, 25.2, 25.4])
    assert bucket.held_for(76.0) == 0.0


def test_a_second_429_extends_the_hold_and_a_shorter_one_does_not_cut_it():
    bucket = TokenBucket(None, 0)
    bucket.throttled(50.0, 10.0)
    bucket.throttled(55.0, 20.0)
    bucket.throttled(56.0, 1.0)
    assert bucket.held_for(56.0) == 19.0


def test_a_reservation_given_back_during_a_hold_opens_nothing_before_its_end():
    bucket = TokenBucket(10.0, 5)
    bucket.throttled(50.0, 10.0)
    bucket.reserve(51.0)
    bucket.give_back(51.0)
    bucket.give_back(51.0)
    assert bucket.reserve(51.0) == 9.0


def test_a_success_that_began_before_the_hold_speeds_nothing_up():
    bucket = TokenBucket(10.0, 5)
    bucket.throttled(50.0, 10.0)
    bucket.succeeded(51.0)
    assert bucket.rate == 5.0


def test_a_waiter_that_wakes_half_a_millisecond_before_the_end_of_a_hold_is_not_sent_back():
    bucket = TokenBucket(10.0, 1)
    bucket.throttled(50.0, 10.0)
    assert bucket.held_for(59.998) == pytest.approx(0.002)
    assert bucket.held_for(59.9995) == 0.0


def test_without_a_rate_there_is_only_the_hold():
    bucket = TokenBucket(None, 0)
    assert [bucket.reserve(50.0) for _ in range(1000)] == [0.0] * 1000
    bucket.throttled(50.0, 3.0)
    assert [bucket.reserve(51.0), bucket.reserve(51.0)] == [2.0, 2.0]
    bucket.succeeded(52.0)
    bucket.give_back(52.0)
    assert bucket.reserve(53.0) == 0.0
    assert bucket.rate is None


news = st.one_of(
    st.just("call"),
    st.just("success"),
    st.just("throttled"),
    st.floats(0, 30),  # throttled, with this hint
)


@settings(deadline=None)
@given(
    st.sampled_from([0.5, 1.0, 7.0, 100.0]),
    st.integers(1, 8),
    st.lists(st.tuples(st.one_of(st.just(0.0), st.floats(0, 3)), news), max_size=60),
)
def test_no_stretch_of_t_seconds_sees_more_than_burst_plus_rate_times_t_calls_and_none_goes_in_a_hold(
    rate, burst, steps
):
    bucket, now, went, waiting = TokenBucket(rate, burst), 0.0, [], []

    def call(moment):
        heapq.heappush(waiting, moment + bucket.reserve(moment))

    def wake(until):
        while waiting and waiting[0] <= until:
            moment = heapq.heappop(waiting)
            if bucket.held_for(moment):
                call(moment)
            else:
                went.append(moment)

    for step, event in steps:
        now += step
        wake(now)
        if event == "call":
            call(now)
        elif event == "success":
            bucket.succeeded(now)
        else:
            bucket.throttled(now, None if event == "throttled" else event)
    wake(float("inf"))

    assert went == sorted(went)
    for first, begun in enumerate(went):
        for last in range(first, len(went)):
            assert last - first + 1 <= burst + rate * (went[last] - begun) + 1e-6


@settings(deadline=None)
@given(st.floats(0.1, 1000), st.integers(1, 8), st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=80))
def test_reservations_are_first_in_first_out_while_the_rate_rises(rate, burst, steps):
    bucket, now, promised = TokenBucket(rate, burst), 0.0, 0.0
    bucket.throttled(now, None)
    for step, succeeded in steps:
        now += step
        if succeeded:
            bucket.succeeded(now)
        moment = now + bucket.reserve(now)
        assert moment >= promised - 1e-9
        promised = moment
