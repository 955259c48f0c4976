"""Which value is taken, which one is kept, and what is said of the places without one."""

import pytest

from blueprint_proxy.config import CredentialSource, Secret, SecretPlace
from blueprint_proxy.secrets.held import HeldSecret
from blueprint_proxy.secrets.looking import Found, NotFound

MANAGER, FILE, ENV = (
    SecretPlace("secret_manager", "a-key"),
    SecretPlace("file", "/s/a-key"),
    SecretPlace("env", "A_KEY"),
)
NOTHING, DOWN = NotFound("nothing there"), NotFound("UNAVAILABLE: down", passing=True)
ONE, TWO = Found(Secret("one"), "1"), Found(Secret("two"))


def held_from(manager, file, env, held=None, now=5.0):
    held = held or HeldSecret(CredentialSource((MANAGER, FILE, ENV), "a-key"))
    held.settle({MANAGER: manager, FILE: file, ENV: env}, now)
    return held


def state(held):
    return held.value and held.value.reveal(), held.place, held.found, held.passing


def test_the_first_place_with_a_value_wins():
    held = held_from(ONE, TWO, NOTHING)
    assert state(held) == ("one", MANAGER, True, False)
    assert (held.version, held.read_at, held.why) == ("1", 5.0, "")
    assert held.origin == "Secret Manager a-key version 1"


def test_a_later_place_is_taken_where_the_first_has_none():
    held = held_from(NOTHING, NOTHING, TWO)
    assert state(held) == ("two", ENV, True, False)
    assert held.why == "Secret Manager a-key (nothing there), file /s/a-key (nothing there)"


def test_a_later_place_stands_in_while_the_first_cannot_be_asked():
    assert state(held_from(DOWN, NOTHING, TWO)) == ("two", ENV, True, True)


def test_a_better_place_takes_over_when_it_can_be_asked_again():
    held = held_from(DOWN, NOTHING, TWO)
    assert state(held_from(ONE, NOTHING, TWO, held)) == ("one", MANAGER, True, False)


@pytest.mark.parametrize("others", [NOTHING, TWO])
def test_a_value_stays_while_its_place_cannot_be_asked(others):
    held = held_from(ONE, others, others)
    held_from(DOWN, others, others, held, now=9.0)
    assert state(held) == ("one", MANAGER, False, True)
    assert (held.read_at, held.why) == (5.0, "Secret Manager a-key (UNAVAILABLE: down)")


def test_a_value_whose_place_has_none_any_more_gives_way_to_the_next():
    held = held_from(ONE, NOTHING, NOTHING)
    assert state(held_from(NOTHING, NOTHING, TWO, held)) == ("two", ENV, True, False)


def test_a_value_that_is_nowhere_any_more_stays():
    held = held_from(ONE, NOTHING, NOTHING)
    assert state(held_from(NOTHING, NOTHING, NOTHING, held)) == ("one", MANAGER, False, False)


def test_a_changed_file_is_taken_although_a_better_place_cannot_be_asked():
    held = held_from(DOWN, ONE, NOTHING)
    assert state(held_from(DOWN, TWO, NOTHING, held)) == ("two", FILE, True, True)


def test_nowhere_at_all():
    held = held_from(NOTHING, DOWN, NOTHING)
    assert state(held) == (None, None, False, True)
    assert held.origin == "nowhere"
    empty = HeldSecret(CredentialSource((), "a-key"))
    empty.settle({}, 1.0)
    assert empty.why == "no place is configured"


def test_a_pinned_version_is_named_once():
    pinned = SecretPlace("secret_manager", "a-key@7")
    held = HeldSecret(CredentialSource((pinned,), "a-key"))
    held.settle({pinned: Found(Secret("x"), "7")}, 1.0)
    assert held.origin == "Secret Manager a-key version 7"


def test_nothing_shows_the_value():
    held = held_from(ONE, NOTHING, NOTHING)
    assert repr(held) == "HeldSecret(a-key, Secret Manager a-key version 1)"
