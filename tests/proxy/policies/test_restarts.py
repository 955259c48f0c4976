import math

from blueprint_proxy.policies.restarts import Restarts


def test_the_first_restart_may_be_made_at_once():
    assert Restarts(cooldown=30.0, per_hour=3, initialising=1).ask(5.0, initialising=False) == 0.0


def test_a_second_one_waits_for_the_cooldown():
    restarts = Restarts(cooldown=30.0, per_hour=3, initialising=1)
    restarts.ask(0.0, initialising=False)
    assert restarts.ask(10.0, initialising=False) == 20.0
    assert restarts.ask(30.0, initialising=False) == 0.0


def test_an_hour_holds_no_more_than_its_budget():
    restarts = Restarts(cooldown=1.0, per_hour=2, initialising=1)
    assert [restarts.ask(now, initialising=False) for now in (0.0, 100.0, 200.0, 3600.0)] == [0.0, 0.0, 3400.0, 0.0]


def test_what_fails_while_initialising_does_not_spend_the_other_budget():
    restarts = Restarts(cooldown=1.0, per_hour=1, initialising=1)
    assert restarts.ask(0.0, initialising=True) == 0.0
    assert restarts.ask(10.0, initialising=True) == 3590.0
    assert restarts.ask(10.0, initialising=False) == 0.0


def test_the_cooldown_holds_between_the_two():
    restarts = Restarts(cooldown=30.0, per_hour=1, initialising=1)
    restarts.ask(0.0, initialising=True)
    assert restarts.ask(10.0, initialising=False) == 20.0


def test_a_budget_of_none_never_restarts():
    assert restarts_of_none().ask(0.0, initialising=False) == math.inf


def restarts_of_none():
    return Restarts(cooldown=30.0, per_hour=0, initialising=0)
