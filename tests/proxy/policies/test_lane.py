import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blueprint_proxy.policies.lane import KEPT_FOR, Ask, Kept, Lane, LaneFull

READ = Ask("run-a", "get_joint_position", b"")


def lane_with(*asks, queue=8):
    lane = Lane(queue)
    tickets = [lane.arrive(0.0, ask) for ask in asks]
    return lane, tickets


def test_one_call_holds_the_slot_and_the_next_waits_for_its_end():
    lane, (first, second) = lane_with(READ, Ask("run-b", "reset", b""))
    assert lane.begin(1.0) is first
    assert lane.begin(1.0) is None
    lane.end(2.0, first, "answer")
    assert lane.begin(2.0) is second


def test_equal_calls_of_live_callers_are_two_calls():
    lane, (first, second) = lane_with(READ, READ)
    assert first is not second
    lane.begin(1.0)
    assert lane.arrive(1.0, READ) is not first


def test_a_repeat_takes_over_the_call_that_its_caller_left_in_the_slot():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    assert lane.arrive(2.0, READ) is first
    assert not first.orphaned


@pytest.mark.parametrize(
    "other", [READ._replace(key="run-b"), READ._replace(method="reset"), READ._replace(payload=b"x")]
)
def test_only_the_same_caller_method_and_bytes_take_an_orphan_over(other):
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    assert lane.arrive(2.0, other) is not first


def test_an_orphan_that_was_taken_over_is_not_taken_over_twice():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    assert lane.arrive(2.0, READ) is first
    assert lane.arrive(2.0, READ) is not first


def test_an_orphans_answer_is_given_once_to_its_callers_repeat():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    lane.end(2.0, first, "late")
    assert lane.arrive(3.0, READ) == Kept("late")
    assert lane.arrive(3.0, READ) != Kept("late")


def test_an_answer_that_somebody_received_is_not_kept():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.end(2.0, first, "received")
    assert not isinstance(lane.arrive(3.0, READ), Kept)


def test_a_kept_answer_is_dropped_when_another_call_begins():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    lane.end(2.0, first, "late")
    lane.arrive(2.0, Ask("run-b", "reset", b""))
    lane.end(3.0, lane.begin(2.5), "done")
    assert not isinstance(lane.arrive(3.0, READ), Kept)


def test_a_kept_answer_grows_too_old_to_be_given():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    lane.end(2.0, first, "late")
    assert not isinstance(lane.arrive(2.0 + KEPT_FOR + 0.1, READ), Kept)


def test_a_failed_orphan_leaves_nothing():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    lane.end(2.0, first, None)
    assert not isinstance(lane.arrive(3.0, READ), Kept)


def test_a_forgotten_answer_is_not_given():
    lane, (first,) = lane_with(READ)
    lane.begin(1.0)
    lane.leave(first)
    lane.end(2.0, first, "of the old process")
    lane.forget()
    assert not isinstance(lane.arrive(3.0, READ), Kept)


def test_a_caller_that_leaves_the_queue_gives_its_place_back():
    lane, (_, second) = lane_with(READ, READ, queue=1)
    lane.begin(1.0)
    lane.leave(second)
    assert lane.queued == 0
    lane.arrive(1.0, READ)


def test_runs_take_turns_and_within_a_run_it_is_first_come_first_served():
    asks = [Ask("a", "m", bytes([number])) for number in range(3)] + [Ask("b", "m", b"b")]
    lane, _ = lane_with(*asks)
    order = []
    while (ticket := lane.begin(1.0)) is not None:
        order.append((ticket.ask.key, ticket.ask.payload))
        lane.end(1.0, ticket, "")
    assert order == [("a", b"\0"), ("b", b"b"), ("a", b"\1"), ("a", b"\2")]


def test_a_full_queue_says_what_holds_the_slot_and_for_how_long():
    lane, _ = lane_with(READ, READ, queue=1)
    lane.begin(1.0)
    with pytest.raises(LaneFull) as full:
        lane.arrive(5.0, READ)
    assert (full.value.method, full.value.age, full.value.waiting) == ("get_joint_position", 4.0, 1)


def test_only_the_call_in_the_slot_can_end():
    lane, (_, second) = lane_with(READ, READ)
    lane.begin(1.0)
    with pytest.raises(ValueError, match="not in the slot"):
        lane.end(1.0, second, "x")


class Callers(RuleBasedStateMachine):
    """Any order of arrivals, departures, beginnings and ends, against what each caller may expect."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.lane = Lane(4)
        self.present = {}  # ticket -> how many live callers hold it
        self.begun = 0
        self.owed = {}  # key -> calls of other keys that went first since it began to wait

    @rule(key=st.sampled_from("abc"), payload=st.sampled_from([b"x", b"y"]))
    def arrive(self, key, payload):
        ask = Ask(key, "m", payload)
        holder = self.lane.holder
        try:
            got = self.lane.arrive(self.now, ask)
        except LaneFull:
            assert self.lane.queued == 4 + (holder is None)
            return
        if isinstance(got, Kept):
            assert got.answer == (ask, self.begun)  # of the last call that began, and no other
            return
        if got is holder:
            assert self.present[got] == 0
        self.present[got] = self.present.get(got, 0) + 1

    @precondition(lambda self: any(self.present.values()))
    @rule(data=st.data())
    def leave(self, data):
        ticket = data.draw(st.sampled_from([ticket for ticket, live in self.present.items() if live]))
        self.lane.leave(ticket)
        self.present[ticket] -= 1
        if ticket.begun is None:
            del self.present[ticket]

    @rule()
    def begin(self):
        waiting = {ticket.ask.key for ticket in self.present if ticket.begun is None}
        ticket = self.lane.begin(self.now)
        if ticket is None:
            return
        self.begun += 1
        for key in waiting - {ticket.ask.key}:
            self.owed[key] = self.owed.get(key, 0) + 1
            assert self.owed[key] <= 2, "a run waits for one call of each other run at most"
        self.owed.pop(ticket.ask.key, None)
        for key in set(self.owed) - waiting:
            del self.owed[key]

    @precondition(lambda self: self.lane.holder is not None)
    @rule(answered=st.booleans())
    def end(self, answered):
        ticket = self.lane.holder
        self.lane.end(self.now, ticket, (ticket.ask, self.begun) if answered else None)
        del self.present[ticket]

    @rule(seconds=st.sampled_from([0.1, 40.0]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def no_caller_shares_a_call(self):
        assert all(live <= 1 for live in self.present.values())

    @invariant()
    def nothing_is_lost(self):
        assert self.lane.queued == sum(ticket.begun is None for ticket in self.present)


TestCallers = Callers.TestCase
TestCallers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
