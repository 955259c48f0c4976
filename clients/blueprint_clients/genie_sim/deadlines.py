"""How long a call to each method is waited for, where its caller does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEEWAY_S = 30.0
"""On top of a method's hang age: for a wait behind another call, and so that the sidecar's word on a hang is first."""

HANG_AGE_S: Mapping[str, float] = {
    "get_joint_position": 300, "get_ee_pose": 60, "get_ik_status": 180, "set_joint_position": 300,
    "get_object_pose": 60, "get_part_dof_joint": 60, "set_target_point": 60, "add_object": 300,
    "set_gripper_state": 60, "linear_move": 300,
    "get_camera_data": 180, "get_camera_info": 60, "get_semantic_data": 180, "get_observation": 180,
    "reset": 300, "init_robot": 600, "task_status": 300, "exit": 660,
    "add_camera": 180, "attach_obj": 120, "detach_obj": 120, "remove_objs_from_obstacle": 60,
    "set_object_pose": 60, "set_light": 60, "set_material": 60, "set_trajectory_list": 300,
    "set_frame_state": 60, "set_task_metric": 60, "store_current_state": 60, "playback": 120,
    "get_checker_status": 60, "get_contact_report": 60, "get_ee_wrench": 60,
}  # fmt: skip
"""Seconds in flight after which the simulator counts as hung: bounds that are visible in its server and its clients.

The two joint methods have the one of their first call after init_robot, which compiles the motion planner.
"""


def usual_wait(method: str) -> float:
    """Seconds for a call, from its beginning to its answer."""
    return HANG_AGE_S[method] + LEEWAY_S
