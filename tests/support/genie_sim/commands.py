"""The numbers that stand for the methods in the mailbox."""

from __future__ import annotations

COMMANDS = {
    1: "get_camera_data",
    2: "linear_move",
    3: "set_joint_position",
    5: "get_object_pose",
    6: "add_object",
    8: "get_joint_position",
    9: "set_gripper_state",
    11: "get_observation",
    12: "reset",
    13: "attach_obj",
    14: "detach_obj",
    16: "task_status",
    17: "exit",
    18: "get_ee_pose",
    19: "get_ik_status",
    21: "init_robot",
    22: "add_camera",
    24: "set_object_pose",
    25: "set_trajectory_list",
    27: "set_target_point",
    28: "set_frame_state",
    30: "set_light",
    32: "get_part_dof_joint",
    52: "remove_objs_from_obstacle",
    53: "set_task_metric",
    54: "store_current_state",
    55: "playback",
    56: "get_checker_status",
}
"""The numbers under which the servicers post their commands."""

UNDISPATCHED = {25}
"""Numbers that no loop knows."""

PATCHED_ONLY = {1}
"""Numbers that only the pipeline's patched loop knows."""
