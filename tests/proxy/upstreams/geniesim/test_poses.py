import pytest

from blueprint_clients.genie_sim.messages import load
from blueprint_proxy.upstreams.geniesim.poses import READ_BACK, question, stands, wanted

POSE = {"position": {"x": 1.5, "y": -2.0, "z": 0.25}, "rpy": {"rw": 1.0}}
PRIM = "/World/" + "a" * 200


def message(method, part="request", **fields):
    return getattr(load().methods[method], part)(**fields).SerializeToString()


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("add_object", message("add_object", usd_path="u", prim_path=PRIM, object_pose=POSE)),
        (
            "set_object_pose",
            message("set_object_pose", object_pose=[{"prim_path": "x"}, {"prim_path": PRIM, "pose": POSE}]),
        ),
    ],
)
def test_a_writes_wish_is_read_from_its_message(operation, request_):
    found = wanted(operation, request_)
    assert found.prim.decode() == PRIM
    assert found.pose == (1.5, -2.0, 0.25, 1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("reset", message("reset", reset=True)),
        ("set_object_pose", b""),
        ("add_object", b"\x0a\xff"),
        ("add_object", b""),
    ],
)
def test_nothing_can_be_read_back_for_other_calls(operation, request_):
    assert wanted(operation, request_) is None


def test_the_question_is_a_request_for_the_objects_pose():
    assert load().methods["get_object_pose"].path == READ_BACK
    assert question(PRIM.encode()) == message("get_object_pose", prim_path=PRIM)


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        (POSE, True),
        ({**POSE, "rpy": {"rw": -1.0}}, True),
        ({**POSE, "position": {"x": 1.6, "y": -2.0, "z": 0.25}}, False),
        ({**POSE, "rpy": {"rx": 1.0}}, False),
    ],
)
def test_an_object_stands_where_it_was_wanted_or_not(pose, expected):
    at = wanted("add_object", message("add_object", prim_path="p", object_pose=POSE)).pose
    assert stands(message("get_object_pose", "response", object_pose=pose), at) is expected


@pytest.mark.parametrize("reply", [b"", b"\x0a\xff"])
def test_a_reply_without_a_pose_says_nothing(reply):
    assert stands(reply, (0.0,) * 7) is None
