"""Whether an upstream is well enough to be called."""

import pytest

from blueprint_proxy.policies.breaker import Breaker, BreakerOpen, Cause, Change, Outcome, State

SUCCESS, FAILURE, UNKNOWN = Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN


def built(changes=None, **settings):
    known = {
        "window": 30.0, "min_calls": 10, "failure_ratio": 0.5, "slow_call": 5.0, "slow_ratio": 0.8, "consecutive": 5,
        "age": 20.0, "open_for": 10.0, "open_cap": 60.0, "probes": 3, "probe_lease": 30.0,
        "on_change": None if changes is None else changes.append,
    }  # fmt: skip
    return Breaker(**(known | settings))


def went(breaker, now, outcome, *, took=0.0):
    permit = breaker.admit(now)
    breaker.settle(permit, now + took, outcome)


def opened_at(now, **settings):
    breaker = built(**settings)
    for _ in range(5):
        went(breaker, now, FAILURE)
    assert breaker.state(now) is State.OPEN
    return breaker


def half_opened(**settings):
    """A breaker whose first probe is admitted at 110."""
    breaker = opened_at(100.0, **settings)
    return breaker, breaker.admit(110.0)


def refusal(breaker, now):
    with pytest.raises(BreakerOpen) as refused:
        breaker.admit(now)
    return refused.value.retry_after


def probes_admitted(breaker, now, callers):
    permits = []
    for _ in range(callers):
        try:
            permits.append(breaker.admit(now))
        except BreakerOpen:
            continue
    return permits


def test_5_failures_in_a_row_open_it():
    changes = []
    breaker = built(changes)
    for _ in range(5):
        went(breaker, 100.0, FAILURE)
    assert changes == [Change(100.0, State.CLOSED, State.OPEN, Cause.CONSECUTIVE, 10.0)]


def test_a_success_between_begins_the_row_again():
    breaker = built(min_calls=100)
    for outcome in (FAILURE, FAILURE, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, FAILURE, FAILURE):
        went(breaker, 100.0, outcome)
    assert breaker.state(100.0) is State.CLOSED


def test_half_of_10_calls_failing_opens_it():
    changes = []
    breaker = built(changes)
    for _ in range(5):
        went(breaker, 100.0, SUCCESS)
        went(breaker, 100.0, FAILURE)
    assert [change.why for change in changes] == [Cause.FAILURE_RATIO]


def test_4_failures_of_9_calls_are_too_few_to_judge():
    breaker = built(failure_ratio=0.1)
    for _ in range(4):
        went(breaker, 100.0, SUCCESS)
        went(breaker, 100.0, FAILURE)
    went(breaker, 100.0, SUCCESS)
    assert breaker.state(100.0) is State.CLOSED


def test_a_success_that_completes_min_calls_does_not_open_it_and_the_next_failure_does():
    breaker = built(consecutive=100)
    for _ in range(9):
        went(breaker, 100.0, FAILURE)
    went(breaker, 100.0, SUCCESS)
    assert breaker.state(100.0) is State.CLOSED
    went(breaker, 100.0, FAILURE)
    assert breaker.state(100.0) is State.OPEN


def test_a_slow_success_that_completes_min_calls_is_judged_by_slowness_alone():
    breaker = built(consecutive=100)
    for _ in range(9):
        went(breaker, 100.0, FAILURE)
    went(breaker, 100.0, SUCCESS, took=6.0)
    assert breaker.state(106.0) is State.CLOSED


def test_failures_older_than_the_window_are_forgotten():
    breaker = built(consecutive=100)
    for _ in range(9):
        went(breaker, 100.0, FAILURE)
    for _ in range(9):
        went(breaker, 130.0, SUCCESS)
    went(breaker, 130.0, FAILURE)
    assert breaker.state(130.0) is State.CLOSED


def test_8_slow_answers_of_10_open_it_though_nothing_failed():
    changes = []
    breaker = built(changes)
    for took in (0.1, 0.1, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0):
        went(breaker, 100.0, SUCCESS, took=took)
    assert [change.why for change in changes] == [Cause.SLOW_RATIO]


def test_a_slow_failure_counts_as_slow_too():
    changes = []
    breaker = built(changes, failure_ratio=0.9, consecutive=100, min_calls=4, slow_ratio=0.5)
    for took, outcome in ((0.1, SUCCESS), (0.1, SUCCESS), (6.0, SUCCESS), (6.0, FAILURE)):
        went(breaker, 100.0, outcome, took=took)
    assert [change.why for change in changes] == [Cause.SLOW_RATIO]


def test_without_a_slow_call_limit_an_hour_is_not_slow():
    breaker = built(slow_call=None)
    for _ in range(20):
        went(breaker, 100.0, SUCCESS, took=3600.0)
    assert breaker.state(100.0) is State.CLOSED


def test_a_body_that_streams_for_an_hour_after_a_quick_head_is_neither_slow_nor_hanging():
    breaker = built(min_calls=1)
    permit = breaker.admit(100.0)
    breaker.answered(permit, 100.5)
    breaker.tick(3700.0)
    breaker.settle(permit, 3700.0, SUCCESS)
    assert breaker.state(3700.0) is State.CLOSED
    assert breaker.in_flight == 0


def test_an_answered_call_whose_body_breaks_is_a_failure():
    breaker = built(consecutive=1)
    permit = breaker.admit(100.0)
    breaker.answered(permit, 100.5)
    breaker.settle(permit, 101.0, FAILURE)
    assert breaker.state(101.0) is State.OPEN


def test_10_disconnected_jobs_count_for_nothing():
    breaker = built(failure_ratio=0.05)
    for _ in range(10):
        went(breaker, 100.0, UNKNOWN)
    went(breaker, 100.0, FAILURE)
    assert breaker.state(100.0) is State.CLOSED


def test_an_unknown_outcome_does_not_break_a_row_of_failures():
    breaker = built()
    for outcome in (FAILURE, FAILURE, FAILURE, FAILURE, UNKNOWN, FAILURE):
        went(breaker, 100.0, outcome)
    assert breaker.state(100.0) is State.OPEN


def test_settling_a_permit_5_times_is_1_failure():
    breaker = built()
    permit = breaker.admit(100.0)
    for _ in range(5):
        breaker.settle(permit, 100.0, FAILURE)
    assert breaker.state(100.0) is State.CLOSED


def test_a_call_without_an_answer_for_more_than_20_s_opens_it_though_nothing_failed():
    changes = []
    breaker = built(changes)
    breaker.admit(100.0)
    breaker.admit(119.0)
    breaker.tick(120.0)
    assert changes == []
    breaker.tick(120.1)
    assert changes == [Change(120.1, State.CLOSED, State.OPEN, Cause.AGE, 10.0)]


def test_the_oldest_call_still_in_flight_counts_and_not_the_oldest_ever():
    breaker = built()
    first = breaker.admit(100.0)
    breaker.admit(110.0)
    breaker.settle(first, 111.0, SUCCESS)
    breaker.tick(125.0)
    assert breaker.state(125.0) is State.CLOSED
    breaker.tick(130.1)
    assert breaker.state(130.1) is State.OPEN


def test_the_hang_that_opened_it_does_not_open_it_again_after_recovery():
    breaker = built(probes=1)
    hanging = breaker.admit(100.0)
    breaker.tick(121.0)
    went(breaker, 131.0, SUCCESS)
    breaker.tick(132.0)
    assert breaker.state(132.0) is State.CLOSED
    breaker.settle(hanging, 133.0, FAILURE)
    assert breaker.in_flight == 0


def test_without_an_age_a_call_may_hang_for_a_day():
    breaker = built(age=None)
    breaker.admit(100.0)
    breaker.tick(86_500.0)
    assert breaker.state(86_500.0) is State.CLOSED


def test_a_probe_that_hangs_for_longer_than_the_age_opens_it_again():
    changes = []
    breaker, _probe = half_opened(on_change=changes.append)
    breaker.tick(130.1)
    assert changes[-1] == Change(130.1, State.HALF_OPEN, State.OPEN, Cause.AGE, 20.0)


def test_a_refusal_says_how_long_it_stays_open():
    breaker = opened_at(100.0)
    assert refusal(breaker, 104.0) == 6.0
    assert refusal(breaker, 109.75) == 0.25
    assert breaker.open_left(104.0) == 6.0


def test_gauges_see_half_open_when_the_time_is_over_though_nobody_has_asked():
    changes = []
    breaker = opened_at(100.0, on_change=changes.append)
    assert (breaker.state(109.9), breaker.state(110.0)) == (State.OPEN, State.HALF_OPEN)
    assert breaker.open_left(110.0) == 0.0
    assert len(changes) == 1


def test_late_failures_from_before_the_trip_move_nothing():
    changes = []
    breaker = built(changes)
    late = [breaker.admit(100.0) for _ in range(8)]
    for permit in late[:5]:
        breaker.settle(permit, 101.0, FAILURE)
    for permit in late[5:]:
        breaker.settle(permit, 111.0, FAILURE)
    probe = breaker.admit(112.0)
    breaker.settle(late[7], 112.0, FAILURE)
    assert breaker.state(112.0) is State.HALF_OPEN
    breaker.settle(probe, 112.0, SUCCESS)
    assert [change.new for change in changes] == [State.OPEN, State.HALF_OPEN]


def test_late_successes_from_before_the_trip_close_nothing():
    breaker = built()
    late = [breaker.admit(100.0) for _ in range(3)]
    for _ in range(5):
        went(breaker, 100.0, FAILURE)
    breaker.admit(110.0)
    for permit in late:
        breaker.settle(permit, 110.0, SUCCESS)
    assert breaker.state(110.0) is State.HALF_OPEN


def test_the_open_period_doubles_from_10_to_the_cap_of_60():
    changes = []
    breaker, now = opened_at(100.0, on_change=changes.append), 100.0
    for _ in range(4):
        now += changes[-1].retry_after
        went(breaker, now, FAILURE)
    assert [change.retry_after for change in changes if change.new is State.OPEN] == [10.0, 20.0, 40.0, 60.0, 60.0]


@pytest.mark.parametrize(("closed_for", "period"), [(29.0, 20.0), (30.0, 10.0)])
def test_the_growth_is_forgotten_after_a_whole_window_of_30_s_closed(closed_for, period):
    changes = []
    breaker = opened_at(100.0, probes=1, on_change=changes.append)
    went(breaker, 110.0, SUCCESS)
    for _ in range(5):
        went(breaker, 110.0 + closed_for, FAILURE)
    assert changes[-1].retry_after == period


def test_of_50_callers_at_once_3_are_admitted():
    breaker = opened_at(100.0)
    assert len(probes_admitted(breaker, 110.0, 50)) == 3


def test_a_refusal_beside_3_probes_asks_for_a_second():
    breaker = opened_at(100.0)
    probes_admitted(breaker, 110.0, 3)
    assert refusal(breaker, 110.0) == 1.0
    assert refusal(breaker, 139.75) == 0.25


def test_3_good_probes_close_it():
    changes = []
    breaker = opened_at(100.0, on_change=changes.append)
    for probe in probes_admitted(breaker, 110.0, 3):
        breaker.settle(probe, 111.0, SUCCESS)
    assert changes[-1] == Change(111.0, State.HALF_OPEN, State.CLOSED, Cause.RECOVERED, None)


def test_failures_from_before_are_forgotten_when_it_closes():
    breaker = opened_at(100.0, probes=1)
    went(breaker, 110.0, SUCCESS)
    for _ in range(4):
        went(breaker, 111.0, FAILURE)
    assert breaker.state(111.0) is State.CLOSED


def test_1_failed_probe_opens_it_for_twice_as_long():
    changes = []
    breaker = opened_at(100.0, on_change=changes.append)
    first, second, _third = probes_admitted(breaker, 110.0, 3)
    breaker.settle(first, 111.0, SUCCESS)
    breaker.settle(second, 112.0, FAILURE)
    assert changes[-1] == Change(112.0, State.HALF_OPEN, State.OPEN, Cause.PROBE_FAILED, 20.0)


def test_successes_of_an_earlier_half_open_time_do_not_count_in_the_next():
    breaker = opened_at(100.0)
    first, second, third = probes_admitted(breaker, 110.0, 3)
    breaker.settle(first, 110.0, SUCCESS)
    breaker.settle(second, 110.0, SUCCESS)
    breaker.settle(third, 110.0, FAILURE)
    went(breaker, 130.0, SUCCESS)
    assert breaker.state(130.0) is State.HALF_OPEN


def test_a_slow_probe_opens_it_again():
    changes = []
    breaker, probe = half_opened(on_change=changes.append)
    breaker.settle(probe, 116.0, SUCCESS)
    assert changes[-1].why is Cause.PROBE_SLOW


def test_a_cancelled_probe_gives_its_place_back():
    breaker = opened_at(100.0)
    first, *_others = probes_admitted(breaker, 110.0, 3)
    breaker.settle(first, 111.0, UNKNOWN)
    assert len(probes_admitted(breaker, 111.0, 50)) == 1


def test_3_cancelled_probes_prove_nothing_and_close_nothing():
    breaker = opened_at(100.0)
    for probe in probes_admitted(breaker, 110.0, 3):
        breaker.settle(probe, 111.0, UNKNOWN)
    assert breaker.state(111.0) is State.HALF_OPEN


def test_a_probe_that_never_settles_loses_its_place_after_30_s():
    breaker = opened_at(100.0, age=None)
    probes_admitted(breaker, 110.0, 3)
    assert probes_admitted(breaker, 139.9, 50) == []
    assert len(probes_admitted(breaker, 140.0, 50)) == 3


def test_an_answered_probe_loses_its_place_after_30_s_too():
    breaker, probe = half_opened(probes=1)
    breaker.answered(probe, 111.0)
    assert len(probes_admitted(breaker, 140.0, 50)) == 1


def test_ticks_end_leases_without_a_caller():
    breaker, _probe = half_opened(age=None)
    breaker.tick(139.9)
    assert breaker.in_flight == 1
    breaker.tick(140.0)
    assert breaker.in_flight == 0


def test_the_late_outcome_of_a_probe_whose_lease_ended_moves_nothing():
    breaker, probe = half_opened(age=None, probes=1)
    breaker.tick(140.0)
    breaker.settle(probe, 141.0, FAILURE)
    breaker.settle(probe, 141.0, SUCCESS)
    assert breaker.state(141.0) is State.HALF_OPEN


def test_an_outcome_after_the_lease_moves_nothing_though_no_tick_has_ended_it_yet():
    breaker, probe = half_opened(probes=1)
    breaker.settle(probe, 140.0, SUCCESS)
    assert breaker.state(140.0) is State.HALF_OPEN
    assert breaker.in_flight == 0


def test_an_age_beyond_the_lease_leaves_the_probe_to_its_lease():
    breaker, _probe = half_opened(age=40.0)
    breaker.tick(155.0)
    assert breaker.state(155.0) is State.HALF_OPEN
    assert breaker.in_flight == 0


def test_forced_open_refuses_for_ever_and_names_no_time():
    changes = []
    breaker = built(changes)
    breaker.force_open(100.0)
    assert refusal(breaker, 1e9) is None
    assert changes == [Change(100.0, State.CLOSED, State.FORCED_OPEN, Cause.FORCED, None)]


def test_disabled_admits_through_100_failures_and_a_hang():
    breaker = built()
    breaker.disable(100.0)
    breaker.admit(100.0)
    for _ in range(100):
        went(breaker, 100.0, FAILURE)
    breaker.tick(1000.0)
    assert breaker.state(1000.0) is State.DISABLED
    assert breaker.in_flight == 0


@pytest.mark.parametrize("begin", ["force_open", "disable", "trip"])
def test_reset_closes_and_forgets(begin):
    changes = []
    breaker = opened_at(100.0, on_change=changes.append) if begin == "trip" else built(changes)
    if begin != "trip":
        getattr(breaker, begin)(100.0)
    breaker.reset(101.0)
    assert changes[-1].new is State.CLOSED
    assert changes[-1].why is Cause.RESET
    for _ in range(4):
        went(breaker, 102.0, FAILURE)
    assert breaker.state(102.0) is State.CLOSED
    went(breaker, 102.0, FAILURE)
    assert changes[-1].retry_after == 10.0


def test_a_permit_from_before_it_was_disabled_moves_nothing_after_the_reset():
    breaker = built(consecutive=1)
    permit = breaker.admit(100.0)
    breaker.disable(100.0)
    breaker.reset(101.0)
    breaker.settle(permit, 102.0, FAILURE)
    assert breaker.state(102.0) is State.CLOSED


def test_each_change_begins_an_era_and_a_permit_carries_its_own():
    breaker, probe = half_opened()
    assert probe.era == breaker.era == 2
