"""How long to wait before the next try."""

from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.policies.backoff import after_hint, full_jitter

chances = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0, 1e6)


@settings(deadline=None)
@given(attempt=st.integers(1, 10**9), base=seconds, cap=seconds, chance=chances)
def test_a_back_off_stays_between_0_and_the_smaller_of_cap_and_doubled_base(attempt, base, cap, chance):
    wait = full_jitter(attempt, base, cap, lambda: chance)
    assert 0 <= wait <= cap
    if attempt < 1000:
        assert wait <= base * 2 ** (attempt - 1)


@settings(deadline=None)
@given(hint=st.floats(0, 604800), base=seconds, chance=chances)
def test_a_hint_is_never_undercut_and_exceeded_by_at_most_a_tenth_and_50_ms(hint, base, chance):
    wait = after_hint(hint, base, lambda: chance)
    assert hint <= wait <= hint + min(base, hint * 0.1 + 0.05) + 1e-6


def test_the_ceiling_doubles_from_half_a_second_to_the_cap_of_5():
    ceilings = [full_jitter(attempt, 0.5, 5.0, lambda: 1.0) for attempt in (1, 2, 3, 4, 5, 6)]
    assert ceilings == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_jitter_is_full_down_to_0():
    assert full_jitter(5, 0.5, 5.0, lambda: 0.0) == 0.0


def test_attempt_number_1_000_000_waits_the_cap():
    assert full_jitter(1_000_000, 1e10, 60.0, lambda: 1.0) == 60.0


def test_two_callers_told_26_s_come_back_at_different_moments_within_2_and_a_half_seconds():
    assert after_hint(26.0, 10.0, lambda: 0.0) == 26.0
    assert 28.0 < after_hint(26.0, 10.0, lambda: 0.999) < 28.65
