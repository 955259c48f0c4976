"""The breaker under any order of calls, outcomes and waits."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blueprint_proxy.policies.breaker import Breaker, BreakerOpen, Outcome, State

PROBES, LEASE, AGE = 2, 15.0, 8.0


class Calls(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 100.0
        self.changes = []
        self.out = []
        self.settled = []
        self.breaker = Breaker(
            window=20.0, min_calls=4, failure_ratio=0.5, slow_call=3.0, slow_ratio=0.6, consecutive=3, age=AGE,
            open_for=5.0, open_cap=30.0, probes=PROBES, probe_lease=LEASE, on_change=self.changes.append,
        )  # fmt: skip

    def live(self, permit):
        """Whether the outcome of this permit may move the breaker."""
        if permit.era != self.breaker.era or self.breaker.state(self.now) is State.DISABLED:
            return False
        return self.breaker.state(self.now) is not State.HALF_OPEN or permit.at + LEASE > self.now

    def probes_out(self):
        return [permit for permit in self.out if self.live(permit)]

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.5, 6.0, 16.0, 40.0]))
    def wait(self, seconds):
        self.now += seconds

    def open_until(self):
        """When the open period ends that the last change announced; 0 where it announced none."""
        last = self.changes[-1] if self.changes else None
        return last.at + last.retry_after if last is not None and last.new is State.OPEN else 0.0

    @rule(callers=st.sampled_from([1, 1, 1, 5, 50]))
    def call(self, callers):
        for _ in range(callers):
            before, until, probes_out = self.breaker.state(self.now), self.open_until(), len(self.probes_out())
            try:
                permit = self.breaker.admit(self.now)
            except BreakerOpen as refused:
                retry_after = refused.retry_after
            else:
                assert before is not State.FORCED_OPEN
                assert self.now >= until
                self.out.append(permit)
                continue
            assert before in {State.OPEN, State.HALF_OPEN, State.FORCED_OPEN}
            assert (retry_after is None) is (before is State.FORCED_OPEN)
            assert retry_after is None or 0.0 < retry_after <= 30.0
            assert before is not State.HALF_OPEN or probes_out == PROBES

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data, outcome):
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.settle_and_see_that_only_live_ones_count(permit, outcome)
        self.settled.append(permit)

    @precondition(lambda self: self.out)
    @rule(outcome=st.sampled_from(Outcome))
    def settle_the_newest(self, outcome):
        permit = self.out.pop()
        self.settle_and_see_that_only_live_ones_count(permit, outcome)
        self.settled.append(permit)

    @precondition(lambda self: self.breaker.state(self.now) is State.CLOSED)
    @rule()
    def trip(self):
        for permit in [self.breaker.admit(self.now) for _ in range(3)]:
            self.breaker.settle(permit, self.now, Outcome.FAILURE)
        assert self.breaker.state(self.now) is State.OPEN

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle_again(self, data, outcome):
        permit = data.draw(st.sampled_from(self.settled))
        before = self.seen()
        self.breaker.settle(permit, self.now, outcome)
        assert self.seen() == before

    def seen(self):
        breaker = self.breaker
        return (
            breaker.era, breaker.in_flight, breaker._failures_in_a_row, breaker._probes_passed, breaker._window.sums[:],
        )  # fmt: skip

    def settle_and_see_that_only_live_ones_count(self, permit, outcome):
        live, before = self.live(permit), self.seen()
        self.breaker.settle(permit, self.now, outcome)
        assert live or self.seen()[2:] == before[2:]
        assert live or self.seen()[0] == before[0]

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def answered(self, data):
        self.breaker.answered(data.draw(st.sampled_from(self.out)), self.now)

    @rule()
    def tick(self):
        self.breaker.tick(self.now)
        if self.breaker.state(self.now) is State.CLOSED:
            waiting = [permit for permit in self.probes_out() if permit.answered_at is None]
            assert all(self.now - permit.at <= AGE for permit in waiting)

    @rule(act=st.sampled_from(["force_open", "disable", "reset", "reset", "reset"]))
    def by_hand(self, act):
        getattr(self.breaker, act)(self.now)

    @invariant()
    def no_more_probes_than_permitted_are_out(self):
        if self.breaker.state(self.now) is State.HALF_OPEN:
            assert len(self.probes_out()) <= PROBES
            assert self.breaker.in_flight <= PROBES

    @invariant()
    def every_change_leads_on_from_the_one_before(self):
        assert all(earlier.new is later.old for earlier, later in zip(self.changes, self.changes[1:], strict=False))

    def teardown(self):
        for permit in self.out:
            self.breaker.settle(permit, self.now, Outcome.UNKNOWN)
        assert self.breaker.in_flight == 0


test_any_order_of_calls_outcomes_and_waits_keeps_the_breakers_promises = Calls.TestCase
test_any_order_of_calls_outcomes_and_waits_keeps_the_breakers_promises.settings = settings(deadline=None)
