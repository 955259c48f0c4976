import pytest

from blueprint_proxy.upstreams.geniesim.methods import (
    HEARTBEAT,
    METHODS,
    OTHER,
    UNKNOWN,
    method,
    operation,
    refused_at_the_door,
)

OBSERVATION = "/aimdk.protocol.SimObservationService/get_observation"
METRIC = "/aimdk.protocol.SimObservationService/set_task_metric"


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (b"", "get_observation#read"),
        (b"\x08\x01\x40\x00\x48\x00", "get_observation#read"),
        (b"\x40\x01", "get_observation#start"),
        (b"\x48\x01", "get_observation#stop"),
        (b"\x40\x01\x48\x01", "get_observation#start"),
        (b"\x12\x02\x40\x01", "get_observation#read"),  # the same bytes inside of another field
        (b"\x5a\x02H\x01", "get_observation#read"),  # ... and inside of the task's name
        (b"\x40\x01\x40\x00", "get_observation#read"),  # the last value of a field counts
        (b"\x40", "get_observation#start"),
    ],
)
def test_an_observation_starts_stops_or_only_reads_by_its_fields(message, name):
    assert operation(OBSERVATION, message) == name


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (HEARTBEAT[1], "set_task_metric"),
        (b"\x0a\x09bp::x::{}", "set_task_metric#bp"),
        (b"\x0a\x02{}\x0a\x04bp::", "set_task_metric#bp"),
        (b"\x0a\x06{bp::}", "set_task_metric"),
        (b"\x0a\x30cut", "set_task_metric#bp"),
    ],
)
def test_a_metric_that_is_a_command_is_unsafe(message, name):
    assert operation(METRIC, message) == name


def test_every_method_of_the_table_is_known_by_its_path():
    for row, of in METHODS.items():
        service, _, name = row.partition("/")
        path, _, variant = name.partition("#")
        message = {"start": b"\x40\x01", "stop": b"\x48\x01", "bp": b"\x0a\x04bp::"}.get(variant, b"")
        named = operation(f"/aimdk.protocol.{service}/{path}", message)
        assert (named, method(named)) == (name, of)


@pytest.mark.parametrize(
    "path",
    [
        "/aimdk.protocol.HalHandService/get_hand_state",
        "/aimdk.protocol.SimObjectService/reset",
        "/other.SimObservationService/reset",
        "/aimdk.protocol.SimObservationService/get_observation#read",
    ],
)
def test_what_is_not_in_the_table_is_unsafe(path):
    name = operation(path, b"")
    assert name == UNKNOWN
    assert method(name) is OTHER


def test_two_methods_that_answer_questions_count_as_unsafe_all_the_same():
    assert method("get_checker_status").class_ == method("task_status").class_ == "unsafe"


def test_an_empty_set_light_is_refused_at_the_door():
    assert "never returns" in refused_at_the_door("set_light", b"")
    assert refused_at_the_door("set_light", b"\x0a\x00") is None
    assert refused_at_the_door("reset", b"") is None


def test_no_method_is_hung_before_its_caller_has_waited_for_one_try():
    assert all(of.try_s < of.hang_s < (of.first_s or 1e9) for of in (*METHODS.values(), OTHER))
