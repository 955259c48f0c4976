from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from blueprint_clients.genie_sim import definitions, messages
from blueprint_clients.genie_sim.errors import BadRequest
from blueprint_clients.genie_sim.messages import load
from blueprint_clients.genie_sim.requests import request_of


def made(method: str, **fields: Any) -> Any:
    return request_of(load().methods[method], fields)


def theirs(name: str) -> Any:
    """A class of this name as a job's own stubs have it: of another pool."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(messages._DESCRIPTORS.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName(f"aimdk.protocol.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # type: ignore[attr-defined]  # before 4.22


def test_fields_become_the_request() -> None:
    assert made("get_object_pose", prim_path="/World/a").prim_path == "/World/a"
    assert made("set_task_metric", metric="{}").SerializeToString() == b"\n\x02{}"


def test_empty_values_and_none_are_left_out() -> None:
    assert made("add_object", usd_path="", object_pose=None, object_mass=0.0).SerializeToString() == b""


def test_a_message_may_be_a_mapping_or_one_of_this_library() -> None:
    pose = {"position": {"x": 1.5}}
    ours = definitions.SE3RpyPose(position=definitions.Vec3(x=1.5))
    assert made("add_object", object_pose=pose) == made("add_object", object_pose=ours)


def test_a_message_of_the_jobs_own_stubs_is_taken_alone_and_in_lists() -> None:
    pose = theirs("SE3RpyPose")(position={"x": 1.5})
    command = theirs("JointCommand")(name="a", position=0.5)
    assert made("add_object", object_pose=pose).object_pose.position.x == 1.5
    request = made("set_joint_position", commands=[command, {"name": "b"}], is_trajectory=True)
    assert [one.name for one in request.commands] == ["a", "b"]


def test_what_a_field_cannot_hold_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError):
        made("get_object_pose", prim_path=5)
    with pytest.raises(ValueError, match="no_such"):
        made("get_object_pose", no_such="x")


def test_a_light_without_lights_is_refused_before_it_blocks_the_simulator() -> None:
    with pytest.raises(BadRequest, match="never returns") as caught:
        made("set_light", lights=())
    assert caught.value.not_sent
    assert made("set_light", lights=[{"light_prim": "/World/l"}]).lights
