"""Places and the queue for them."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blueprint_proxy.policies.concurrency import Concurrency, Place


def test_2_places_and_1_in_the_queue_make_the_fourth_one_too_many():
    places = Concurrency(2, 1)
    assert [places.enter(ticket) for ticket in "abcd"] == [Place.ADMITTED, Place.ADMITTED, Place.QUEUED, Place.FULL]


def test_a_place_goes_to_the_ticket_that_waited_longest():
    places = Concurrency(1, 9)
    for ticket in "abcd":
        places.enter(ticket)
    assert [places.leave() for _ in "abcd"] == ["b", "c", "d", None]


def test_a_place_handed_on_stays_taken():
    places = Concurrency(1, 1)
    places.enter("a")
    places.enter("b")
    places.leave()
    assert (places.active, places.queued) == (1, 0)
    assert places.enter("c") is Place.QUEUED


def test_a_withdrawn_ticket_is_passed_over():
    places = Concurrency(1, 9)
    for ticket in "abc":
        places.enter(ticket)
    assert places.withdraw("b")
    assert places.leave() == "c"


def test_a_ticket_that_was_given_its_place_cannot_be_withdrawn():
    places = Concurrency(1, 9)
    places.enter("a")
    places.enter("b")
    places.leave()
    assert not places.withdraw("b")


def test_no_limit_admits_1000():
    places = Concurrency(None, 0)
    assert {places.enter(ticket) for ticket in range(1000)} == {Place.ADMITTED}
    assert places.active == 1000


def test_giving_back_a_place_that_nobody_holds_is_an_error():
    with pytest.raises(ValueError, match="nobody held"):
        Concurrency(1, 1).leave()


class Places(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.places = Concurrency(3, 4)
        self.holding = []
        self.waiting = []
        self.tickets = 0

    @rule()
    def enter(self):
        self.tickets += 1
        place = self.places.enter(self.tickets)
        if place is Place.ADMITTED:
            assert not self.waiting
            self.holding.append(self.tickets)
        elif place is Place.QUEUED:
            self.waiting.append(self.tickets)
        else:
            assert len(self.waiting) == 4

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def leave(self, data):
        self.holding.remove(data.draw(st.sampled_from(self.holding)))
        following = self.places.leave()
        assert following == (self.waiting.pop(0) if self.waiting else None)
        if following is not None:
            self.holding.append(following)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data):
        ticket = data.draw(st.sampled_from(self.waiting))
        assert self.places.withdraw(ticket)
        self.waiting.remove(ticket)

    @invariant()
    def counts_are_true_and_3_is_never_exceeded(self):
        assert self.places.active == len(self.holding) <= 3
        assert self.places.queued == len(self.waiting) <= 4
        assert not self.waiting or self.places.active == 3


test_any_order_of_entering_leaving_and_withdrawing_keeps_3_places_first_in_first_out = Places.TestCase
test_any_order_of_entering_leaving_and_withdrawing_keeps_3_places_first_in_first_out.settings = settings(deadline=None)


def test_a_place_of_an_earlier_era_is_nobodys_any_more():
    concurrency = Concurrency(1, 1)
    concurrency.enter("hangs")
    era = concurrency.era
    concurrency.new_era()
    assert concurrency.enter("new") is Place.ADMITTED
    assert concurrency.leave(era) is None
    assert concurrency.active == 1
    assert concurrency.enter("next") is Place.QUEUED
    assert concurrency.leave(concurrency.era) == "next"
