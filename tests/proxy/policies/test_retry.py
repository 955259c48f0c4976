"""Whether a failed attempt is tried again."""

import pytest

from blueprint_proxy.policies.retry import Again, GiveUp, RetryPolicy, WhyNot, decide

POLICY = RetryPolicy(attempts=3, base=1.0, cap=8.0, on=frozenset({429, 503, "connect", "reset"}))


class Budget:
    def __init__(self, *, left=1):
        self.asked = 0
        self.left = left

    def spend(self):
        self.asked += 1
        self.left -= 1
        return self.left >= 0


def judged(budget=None, **facts):
    known = {
        "attempt": 1, "fault": 503, "not_sent": False, "repeatable": True, "replayable": True, "hint": None,
        "left": None, "spend": (budget or Budget()).spend, "chance": lambda: 0.5,
    }  # fmt: skip
    return decide(POLICY, **(known | facts))


def test_a_503_of_a_repeatable_operation_is_tried_again_after_the_back_off():
    assert judged() == Again(0.5)


def test_the_second_failure_waits_twice_as_long():
    assert judged(attempt=2) == Again(1.0)


def test_the_third_of_3_attempts_is_the_last():
    assert judged(attempt=3) == GiveUp(WhyNot.EXHAUSTED)


@pytest.mark.parametrize("fault", [404, 500, "timeout"])
def test_a_fault_that_is_not_listed_is_not_repeated(fault):
    assert judged(fault=fault) == GiveUp(WhyNot.NOT_LISTED)


def test_a_post_that_may_have_acted_is_not_repeated():
    assert judged(repeatable=False) == GiveUp(WhyNot.NOT_REPEATABLE)


def test_a_post_that_provably_never_left_is_repeated():
    assert judged(repeatable=False, fault="connect", not_sent=True) == Again(0.5)


def test_a_body_that_is_gone_cannot_be_sent_again_even_if_nothing_left():
    assert judged(fault="connect", not_sent=True, replayable=False) == GiveUp(WhyNot.BODY_LOST)


def test_a_hint_of_26_s_is_the_wait_and_a_little_more():
    again = judged(fault=429, hint=26.0)
    assert isinstance(again, Again)
    assert 26.0 < again.wait <= 27.0


def test_a_hint_of_0_is_only_a_floor_and_the_back_off_goes_on_growing():
    assert judged(fault=429, attempt=2, hint=0.0) == Again(1.0)


def test_a_hint_of_26_s_with_20_s_left_fails_at_once():
    assert judged(fault=429, hint=26.0, left=20.0) == GiveUp(WhyNot.DEADLINE)


def test_a_back_off_that_would_end_at_the_deadline_is_not_begun():
    assert judged(left=0.5) == GiveUp(WhyNot.DEADLINE)
    assert judged(left=0.51) == Again(0.5)


def test_an_empty_budget_says_no():
    assert judged(Budget(left=0)) == GiveUp(WhyNot.BUDGET)


@pytest.mark.parametrize(
    "facts",
    [{"fault": 404}, {"repeatable": False}, {"replayable": False}, {"attempt": 3}, {"left": 0.1}],
    ids=["not_listed", "not_repeatable", "body_lost", "exhausted", "deadline"],
)
def test_the_budget_is_not_asked_for_a_try_that_will_not_be_made(facts):
    budget = Budget()
    judged(budget, **facts)
    assert budget.asked == 0


def test_each_further_try_takes_1_from_the_budget():
    budget = Budget(left=5)
    judged(budget)
    judged(budget, attempt=2)
    assert budget.asked == 2
