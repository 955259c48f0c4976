"""Counts of the last seconds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.policies.window import Window


def test_an_event_counts_for_9_tenths_of_the_window_and_not_for_longer_than_it():
    window = Window(10.0, 1)
    window.add(100.0, 0)
    window.forget_old(109.9)
    assert window.sums == [1]
    window.forget_old(110.0)
    assert window.sums == [0]


def test_columns_are_counted_apart():
    window = Window(10.0, 2)
    window.add(100.0, 0)
    window.add(101.0, 1)
    window.add(102.0, 1)
    assert window.sums == [1, 2]


def test_a_pause_of_a_year_empties_the_window():
    window = Window(10.0, 1)
    window.add(100.0, 0)
    window.add(31_536_000.0, 0)
    assert window.sums == [1]


def test_a_cleared_window_stays_empty_as_time_goes_on():
    window = Window(10.0, 1)
    window.add(100.0, 0)
    window.clear()
    window.forget_old(105.0)
    assert window.sums == [0]


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), max_size=60))
def test_sums_hold_all_of_9_tenths_and_nothing_older_than_the_whole(steps):
    window, now, events = Window(10.0, 1), 0, []
    for step in steps:  # tenths of a second, so that nothing is lost to rounding
        now += step
        window.add(now / 10, 0)
        events.append(now)
        assert sum(event > now - 90 for event in events) <= window.sums[0] <= sum(event > now - 100 for event in events)
