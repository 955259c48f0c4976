import dataclasses
import json

import pytest

from blueprint_proxy.errors import Fault
from blueprint_proxy.telemetry import events

CALL = events.CallFinished("gemini", "generate", "ok", 200, None, 1, 0.25, "r-1", None, 10, 20, "upstream")


def test_every_event_of_the_module_is_listed():
    defined = {
        value for value in vars(events).values() if isinstance(value, type) and isinstance(vars(value).get("name"), str)
    }
    assert defined == set(events.ALL)


def test_no_two_events_share_a_name():
    names = [kind.name for kind in events.ALL]
    assert len(set(names)) == len(names)


def test_a_finished_call_is_a_dict_of_its_name_and_fields():
    assert CALL.to_dict() == {
        "event": "call_finished",
        "upstream": "gemini",
        "operation": "generate",
        "outcome": "ok",
        "status": 200,
        "reason": None,
        "attempts": 1,
        "duration": 0.25,
        "request_id": "r-1",
        "run": None,
        "bytes_in": 10,
        "bytes_out": 20,
        "source": "upstream",
        "repeatable": False,
        "deadline": None,
        "queued": 0.0,
        "trace": None,
        "tries": [],
    }


def test_the_failed_tries_of_a_call_are_dicts():
    tried = CALL._replace(tries=(events.Try("503", "retryable", 0.5, 1.0), events.Try("reset", "unknown", 2.0, None)))
    assert json.loads(json.dumps(tried.to_dict()))["tries"] == [
        {"fault": "503", "verdict": "retryable", "duration": 0.5, "wait": 1.0},
        {"fault": "reset", "verdict": "unknown", "duration": 2.0, "wait": None},
    ]


def test_an_enum_member_in_an_event_becomes_its_word():
    event = events.AttemptFailed("gcs", "get", "r-1", 1, Fault.RESET, "retryable", True, "it broke")
    assert json.loads(json.dumps(event.to_dict()))["fault"] == "reset"


def test_a_tuple_in_an_event_becomes_a_list():
    assert events.ConfigurationRejected(("line 3: no", "line 4: no")).to_dict() == {
        "event": "configuration_rejected",
        "problems": ["line 3: no", "line 4: no"],
    }


def test_an_event_cannot_be_changed():
    stopped = events.Stopped(drained=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stopped.drained = False
    with pytest.raises(AttributeError):
        CALL.status = 500


def test_no_event_has_room_for_what_nobody_declared():
    with pytest.raises((AttributeError, TypeError)):
        CALL.body = b"secret"
    with pytest.raises((AttributeError, TypeError)):
        events.Stopped(drained=True).body = b"secret"
