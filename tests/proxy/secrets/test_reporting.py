"""Each sort of trouble is said when it begins and when it changes, and its end is said once."""

import pytest

from blueprint_proxy.config import CredentialSource, Secret, SecretPlace
from blueprint_proxy.secrets.held import HeldSecret
from blueprint_proxy.secrets.looking import Found, NotFound
from blueprint_proxy.secrets.reporting import SecretsReport
from support.scripted_upstream import Heard

MANAGER, ENV = SecretPlace("secret_manager", "a-key"), SecretPlace("env", "A_KEY")
VALUE, NOTHING, DOWN = Found(Secret("s3cr3t"), "1"), NotFound("nothing there"), NotFound("down", passing=True)


class Stage:
    def __init__(self):
        self.heard = Heard()
        self.report = SecretsReport(self.heard.telemetry.emit)
        self.held = HeldSecret(CredentialSource((MANAGER, ENV), "a-key"))
        self.held.loaded.set()

    def look(self, manager, env, now, *, first=False):
        before = len(self.heard.events)
        self.held.settle({MANAGER: manager, ENV: env}, now)
        self.report.tell([self.held], now, refresh=100.0, first=first)
        return self.heard.names()[before:]


@pytest.mark.parametrize(
    ("manager", "env", "said"),
    [
        (VALUE, NOTHING, ["secrets_loaded"]),
        (NOTHING, VALUE, ["secrets_loaded"]),
        (DOWN, VALUE, ["secrets_fell_back", "secrets_loaded"]),
        (DOWN, NOTHING, ["secrets_missing"]),
        (NOTHING, NOTHING, ["secrets_missing"]),
    ],
)
def test_the_first_look_says_how_it_stands(manager, env, said):
    assert Stage().look(manager, env, 1.0, first=True) == said


def test_trouble_is_said_once_and_so_is_its_end():
    stage = Stage()
    stage.look(VALUE, NOTHING, 1.0, first=True)
    assert stage.look(DOWN, NOTHING, 10.0) == ["secrets_kept"]
    assert stage.look(DOWN, NOTHING, 20.0) == []
    assert stage.look(DOWN, NOTHING, 120.0) == ["secrets_kept"]
    assert [event["age"] for event in stage.heard.all("secrets_kept")] == [9.0, 119.0]
    assert stage.look(VALUE, NOTHING, 130.0) == ["secrets_loaded"]
    assert stage.look(VALUE, NOTHING, 140.0) == []


def test_a_changed_configuration_says_everything_anew():
    stage = Stage()
    stage.look(NOTHING, NOTHING, 1.0)
    assert stage.look(NOTHING, NOTHING, 2.0) == []
    stage.report.forget()
    assert stage.look(NOTHING, NOTHING, 3.0) == ["secrets_missing"]


def test_what_has_not_been_looked_for_yet_is_not_missing():
    stage = Stage()
    stage.held.loaded.clear()
    stage.report.tell([stage.held], 1.0, refresh=100.0, first=True)
    assert stage.heard.events == []


def test_no_word_holds_a_value():
    stage = Stage()
    for manager in (VALUE, DOWN, NOTHING, VALUE):
        stage.look(manager, NOTHING, 5.0, first=True)
    assert "s3cr3t" not in repr(stage.heard.events)
