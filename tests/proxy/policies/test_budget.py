"""How many retries an upstream can bear."""

from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.policies.budget import RetryBudget


def taken(budget, now, asked):
    return sum(budget.spend(now) for _ in range(asked))


def test_a_fifth_of_100_calls_may_be_retried():
    budget = RetryBudget(0.2, 0.0)
    for _ in range(100):
        budget.call(50.0)
    assert taken(budget, 50.0, 100) == 20


def test_a_quiet_upstream_has_10_retries_in_10_s_at_1_a_second():
    assert taken(RetryBudget(0.2, 1.0), 50.0, 100) == 10


def test_retries_come_back_when_the_window_has_passed():
    budget = RetryBudget(0.0, 1.0)
    assert taken(budget, 50.0, 100) == 10
    assert taken(budget, 58.9, 100) == 0
    assert taken(budget, 60.0, 100) == 10


def test_a_budget_of_nothing_allows_nothing():
    assert taken(RetryBudget(0.0, 0.0), 50.0, 10) == 0


def test_a_refused_retry_is_not_counted_as_spent():
    budget = RetryBudget(0.0, 0.1)
    assert taken(budget, 50.0, 5) == 1
    assert budget.spent(50.0) == 1


def test_metrics_show_what_the_window_allows_and_what_is_spent():
    budget = RetryBudget(0.2, 1.0)
    for _ in range(100):
        budget.call(50.0)
    taken(budget, 50.0, 3)
    assert (budget.allowed(50.0), budget.spent(50.0)) == (30.0, 3)
    assert (budget.allowed(60.0), budget.spent(60.0)) == (10.0, 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=200),
    st.floats(0, 1),
    st.floats(0, 2),
)
def test_retries_in_the_window_never_pass_what_was_allowed_when_the_last_was_taken(steps, ratio, per_second):
    budget, now = RetryBudget(ratio, per_second), 0.0
    for step, is_retry in steps:
        now += step
        if is_retry:
            if budget.spend(now):
                assert budget.spent(now) <= budget.allowed(now) + 1
            else:
                assert budget.spent(now) >= budget.allowed(now)
        else:
            budget.call(now)
