"""How each method's request becomes what the simulation reads, and its result a reply.

A reply is made of whatever result the handler took from the mailbox. One of another command mostly cannot be read as
its own: that raises, and the caller gets UNKNOWN; where both are strings it passes unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.genie_sim.simulation import Pose


@dataclass(frozen=True, slots=True)
class Wire:
    """One method: the number of its command, what it leaves in the slot, and the fields of its reply."""

    command: int
    read: Callable[[Any], dict[str, Any]]
    write: Callable[[Any, Any], dict[str, Any]]


def pose_of(message: Any) -> Pose:
    """Position and rotation (scalar first) of a SE3RpyPose."""
    at, turned = message.position, message.rpy
    return (at.x, at.y, at.z), (turned.rw, turned.rx, turned.ry, turned.rz)


def pose_fields(pose: Any) -> dict[str, Any]:
    """A SE3RpyPose of what must be a position and a rotation."""
    (x, y, z), (rw, rx, ry, rz) = pose
    return {"position": {"x": x, "y": y, "z": z}, "rpy": {"rw": rw, "rx": rx, "ry": ry, "rz": rz}}


def joints_of(commands: Any) -> list[dict[str, Any]]:
    return [{"name": joint.name, "position": joint.position} for joint in commands]


def joint_states(joints: Any) -> list[dict[str, Any]]:
    return [{"name": name, "position": position} for name, position in joints.items()]


def msg(_request: Any, result: Any) -> dict[str, Any]:
    return {"msg": result}


def no_fields(_request: Any) -> dict[str, Any]:
    return {}


def camera_fields(request: Any, result: Any) -> dict[str, Any]:
    width, height, colour, depth = result
    info = {"width": width, "height": height, "ppx": width / 2, "ppy": height / 2, "fx": 600.0, "fy": 600.0}
    return {
        "serial_no": request.serial_no,
        "color_info": info,
        "color_image": {"format": "rgb8", "data": colour},
        "depth_info": info,
        "depth_image": {"format": "32FC1", "data": depth},
    }


def semantic_fields(request: Any, result: Any) -> dict[str, Any]:
    name, mask, labels = result
    return {
        "serial_no": request.serial_no,
        "semantic_mask": {"name": name, "data": mask},
        "label_dict": [{"label_id": number, "label_name": label} for number, label in labels.items()],
    }


def observation_fields(request: Any, result: Any) -> dict[str, Any]:
    if request.startRecording or request.stopRecording:
        return {"recordingState": result}
    fields: dict[str, Any] = {}
    if request.isJoint:
        fields["joint"] = {"body_arm": joint_states(result["joints"])}
    if request.isPose:
        fields["pose"] = [{"object_pose": pose_fields(pose)} for pose in result["poses"]]
    if request.isCam or request.isGripper:
        result["cameras"]  # not made here, and not on a stock server either
    return fields


def part_fields(_request: Any, result: Any) -> dict[str, Any]:
    name, position, velocity = result
    return {"joint_name": name, "joint_position": position, "joint_velocity": velocity}


def object_poses(request: Any) -> dict[str, Any]:
    joints = [*request.joint_cmd, *(joint for part in request.object_joint for joint in part.joint_cmd)]
    return {
        "object_poses": {placed.prim_path: pose_of(placed.pose) for placed in request.object_pose},
        "object_joints": {joint.name: joint.position for joint in joints},
    }


WIRES: dict[str, Wire] = {
    "get_camera_data": Wire(1, lambda request: {"camera": request.serial_no, "semantic": False}, camera_fields),
    "get_semantic_data": Wire(1, lambda request: {"camera": request.serial_no, "semantic": True}, semantic_fields),
    "linear_move": Wire(
        2, lambda request: {"pose": pose_of(request.pose)}, lambda _request, result: {"errmsg": result}
    ),
    "set_joint_position": Wire(
        3,
        lambda request: {"joints": joints_of(request.commands), "is_trajectory": request.is_trajectory},
        lambda _request, _result: {"errmsg": "Move Joint"},
    ),
    "get_object_pose": Wire(
        5,
        lambda request: {"object_prim_path": request.prim_path},
        lambda request, result: {"prim_path": request.prim_path, "object_pose": pose_fields(result)},
    ),
    "add_object": Wire(
        6,
        lambda request: {"add_prim_path": request.prim_path, "add_pose": pose_of(request.object_pose)},
        lambda request, _result: {"label_name": request.label_name},
    ),
    "get_joint_position": Wire(
        8,
        lambda request: {"serial_no": request.serial_no},
        lambda _request, result: {"states": joint_states(result)},
    ),
    "set_gripper_state": Wire(
        9, lambda request: {"gripper_command": request.gripper_command, "is_right": request.is_right}, msg
    ),
    "get_observation": Wire(
        11,
        lambda request: {
            "startRecording": request.startRecording,
            "stopRecording": request.stopRecording,
            "task_name": request.task_name,
            "isJoint": request.isJoint,
            "objectPrims": list(request.objectPrims) if request.isPose else [],
        },
        observation_fields,
    ),
    "reset": Wire(12, lambda request: {"reset": request.reset}, msg),
    "attach_obj": Wire(13, lambda request: {"attached_prims": list(request.obj_prims)}, msg),
    "detach_obj": Wire(14, lambda request: {"detach": request.detach}, msg),
    "task_status": Wire(16, lambda request: {"isSuccess": request.isSuccess}, msg),
    "exit": Wire(17, lambda request: {"exit": request.exit}, msg),
    "get_ee_pose": Wire(
        18,
        lambda request: {"is_right": request.is_right, "ee": True},
        lambda _request, result: {"ee_pose": pose_fields(result)},
    ),
    "get_ik_status": Wire(
        19,
        lambda request: {"targets": [list(target.elements) for target in request.target_pose]},
        lambda _request, result: {"IKStatus": result},
    ),
    "init_robot": Wire(21, lambda request: {"joint_cmd": joints_of(request.joint_cmd)}, msg),
    "add_camera": Wire(22, lambda request: {"camera_prim": request.camera_prim}, msg),
    "set_object_pose": Wire(24, object_poses, msg),
    "set_trajectory_list": Wire(25, no_fields, msg),
    "set_target_point": Wire(27, lambda request: {"target_point": request.point_position}, msg),
    "set_frame_state": Wire(28, lambda request: {"frame_state": request.frame_state}, msg),
    "set_light": Wire(30, lambda request: {"lights": [MessageToDict(light) for light in request.lights]}, msg),
    "get_part_dof_joint": Wire(
        32, lambda request: {"part_prim_path": request.prim_path, "part_name": request.part_name}, part_fields
    ),
    "remove_objs_from_obstacle": Wire(52, lambda request: {"obstacle_prims": list(request.obj_prims)}, msg),
    "set_task_metric": Wire(53, lambda request: {"metric": request.metric}, msg),
    "store_current_state": Wire(54, lambda request: {"store_id": request.playback_id}, msg),
    "playback": Wire(55, lambda request: {"playback_id": request.playback_id}, msg),
    "get_checker_status": Wire(56, lambda request: {"checker": request.checker}, msg),
}
"""All but the two that are dead before they reach the mailbox, and the two reports that go past it."""

DEAD = ("get_camera_info", "set_material")
REPORTS: dict[str, dict[str, Any]] = {
    "get_contact_report": {"total_normal_force": 1.5, "max_penetration_depth": 0.001},
    "get_ee_wrench": {"force": [1.0, 2.0, 3.0], "torque": [0.1, 0.2, 0.3]},
}
