"""The simulated world and what each command does to it; runs on the loop's thread alone.

A command's result is whatever its servicer expects: a string for those that answer with `msg`. None means that the
command goes on at the next tick. A failure is raised: what comes of it depends on the build.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.genie_sim import cameras
from support.genie_sim.commands import COMMANDS, PATCHED_ONLY, UNDISPATCHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.genie_sim.settings import Settings

Pose = tuple[tuple[float, float, float], tuple[float, float, float, float]]

NOWHERE: Pose = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
JOINTS = [f"joint_{number:02}" for number in range(46)]
NUMBERED = "/World/numbered/"
GRIPPER = {"open": 0.05, "close": 0.0}

PLAYBACK_TICKS = 10


def numbered_pose(number: int) -> Pose:
    """Where the numbered object stands once init_robot has loaded the scene."""
    return (float(number), number / 2, -float(number)), (0.5, 0.5, 0.5, 0.5)


class Simulation:
    """One life of the simulated world: empty until init_robot, and nothing of it survives the process."""

    def __init__(self, settings: Settings, wait: Callable[[float], None]) -> None:
        self._settings = settings
        self._wait = wait
        self.exiting = False
        self.inits = 0
        self.fail_init = False
        self.break_reads_at_reset = False
        self.oversize = False
        self.joints: dict[str, float] | None = None
        self.objects: dict[str, Pose] = {}
        self.frame_status: list[Any] = []
        self.recordings: list[str] = []
        self.recording: str | None = None
        self.cameras: list[str] = []
        self.attached: list[str] = []
        self.lights: list[Any] = []
        self.metric = ""
        self.target_point: Any = None
        self.moves = 0
        self._reset_pending = False
        self._reads_broken = False
        self._stored: dict[str, Any] = {}
        self._checker: Any = None
        self._gripper_ticks = 0
        self._move_ticks = 0
        self._joint_ticks = 0
        self._playback_ticks = 0

    def step(self) -> None:
        """One physics step: what a reset had left for later happens now."""
        if self._reset_pending:
            self._reset_pending = False
            self.frame_status.clear()
            self._stored.clear()
            self.cameras += ["recreated"] * len(set(self.cameras))

    def run(self, command: int, fields: dict[str, Any]) -> Any:
        """The command's result, or None. Raises KeyError where another caller's data stands in the slot."""
        dead = command in UNDISPATCHED or (command in PATCHED_ONLY and not self._settings.patched)
        if dead:
            raise ValueError(f"Invalid command: {command}")
        return getattr(self, f"_{COMMANDS[command]}")(fields)

    def state(self) -> dict[str, Any]:
        return {
            "initialised": self.joints is not None,
            "inits": self.inits,
            "frame_status": list(self.frame_status),
            "recordings": list(self.recordings),
            "recording": self.recording,
            "cameras": len(self.cameras),
            "objects": sorted(self.objects),
            "moves": self.moves,
            "metric": self.metric,
        }

    def _articulation(self) -> dict[str, float]:
        if self.joints is None:
            raise AttributeError("'NoneType' object has no attribute 'dof_names'")
        if self._reads_broken:
            self._reads_broken = False
            raise RuntimeError("the articulation's view is not valid after the reset")
        return self.joints

    def _ticks(self, counter: str, total: int) -> bool:
        """Whether a command of many ticks has arrived. What another caller interrupts stays half counted."""
        spent: int = getattr(self, counter) + 1
        setattr(self, counter, 0 if spent >= total else spent)
        return spent >= total

    def _init_robot(self, fields: dict[str, Any]) -> str:
        self._wait(self._settings.init_s)
        if self.fail_init:
            self.fail_init = False
            return "error: init_robot_cfg failed: Physics backend not ready"
        self.inits += 1
        self.joints = dict.fromkeys(JOINTS, 0.0)
        self.joints.update({joint["name"]: joint["position"] for joint in fields["joint_cmd"]})
        return "success"

    def _reset(self, fields: dict[str, Any]) -> str:
        _ = fields["reset"]
        self._articulation()
        self._reset_pending = True
        if self.break_reads_at_reset:
            self.break_reads_at_reset, self._reads_broken = False, True
        return "reset"

    def _exit(self, fields: dict[str, Any]) -> str:
        _ = fields["exit"]
        self.exiting = True
        return "exit"

    def _task_status(self, fields: dict[str, Any]) -> str:
        return str(fields["isSuccess"])

    def _get_joint_position(self, fields: dict[str, Any]) -> dict[str, float]:
        _ = fields["serial_no"]
        return dict(self._articulation())

    def _set_joint_position(self, fields: dict[str, Any]) -> str | None:
        commands = fields["joints"]
        if fields["is_trajectory"] and not self._ticks("_joint_ticks", self._settings.motion_ticks):
            return None
        self._articulation().update({joint["name"]: joint["position"] for joint in commands})
        return "Move Joint"

    def _get_ee_pose(self, fields: dict[str, Any]) -> Pose:
        joints = self._articulation()
        side = 1.0 if fields["is_right"] else -1.0
        return (side, joints[JOINTS[0]], joints[JOINTS[1]]), NOWHERE[1]

    def _get_ik_status(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        self._articulation()
        return [
            {"joint_names": JOINTS[:3], "joint_positions": [target[3], target[7], target[11]], "isSuccess": True}
            for target in fields["targets"]
        ]

    def _linear_move(self, fields: dict[str, Any]) -> str | None:
        target = fields["pose"]
        self._articulation()
        if not self._ticks("_move_ticks", self._settings.motion_ticks):
            return None
        self.moves += 1
        return str(target is not None)

    def _set_gripper_state(self, fields: dict[str, Any]) -> str | None:
        self._articulation()
        wanted = GRIPPER[fields["gripper_command"]]
        if not self._ticks("_gripper_ticks", self._settings.gripper_ticks):
            return None
        self._articulation()[JOINTS[-1 if fields["is_right"] else -2]] = wanted
        return f"gripper {fields['gripper_command']}"

    def _add_object(self, fields: dict[str, Any]) -> str:
        self.objects[fields["add_prim_path"]] = fields["add_pose"]
        return str(fields["label_name"])

    def _get_object_pose(self, fields: dict[str, Any]) -> Pose:
        path = fields["object_prim_path"]
        if path in self.objects:
            return self.objects[path]
        number = path.removeprefix(NUMBERED)
        if self.joints is not None and path.startswith(NUMBERED) and number.isdigit():
            return numbered_pose(int(number))
        return NOWHERE

    def _set_object_pose(self, fields: dict[str, Any]) -> str:
        self.objects.update(fields["object_poses"])
        if fields["object_joints"]:
            self._articulation().update(fields["object_joints"])
        return "set object pose"

    def _get_part_dof_joint(self, fields: dict[str, Any]) -> tuple[str, float, float]:
        self._articulation()
        return fields["part_name"], float(len(fields["part_prim_path"])), 0.0

    def _attach_obj(self, fields: dict[str, Any]) -> str:
        self._articulation()
        self.attached += fields["attached_prims"]
        return "attach object"

    def _detach_obj(self, fields: dict[str, Any]) -> str:
        _ = fields["detach"]
        self._articulation()
        self.attached.clear()
        return "detach object"

    def _remove_objs_from_obstacle(self, fields: dict[str, Any]) -> str:
        return f"removed {len(fields['obstacle_prims'])}"

    def _set_target_point(self, fields: dict[str, Any]) -> str:
        self.target_point = fields["target_point"]
        return "set target point"

    def _set_frame_state(self, fields: dict[str, Any]) -> str:
        state = json.loads(fields["frame_state"])
        if "task_description" in state:
            self.frame_status[:] = [state]
        else:
            self.frame_status.append(state)
        return "set frame state"

    def _set_light(self, fields: dict[str, Any]) -> str | None:
        if not fields["lights"]:
            return None
        self.lights = fields["lights"]
        return "success"

    def _set_task_metric(self, fields: dict[str, Any]) -> str:
        self.metric = fields["metric"]
        return "set task metric"

    def _add_camera(self, fields: dict[str, Any]) -> str:
        self.cameras.append(fields["camera_prim"])
        return "add camera"

    def _store_current_state(self, fields: dict[str, Any]) -> str:
        if self.target_point is None:
            raise TypeError("'NoneType' object is not iterable")
        self._stored[fields["store_id"]] = dict(self._articulation())
        return "store current state"

    def _playback(self, fields: dict[str, Any]) -> str | None:
        stored = self._stored[fields["playback_id"]]
        if not self._ticks("_playback_ticks", PLAYBACK_TICKS):
            return None
        self._articulation().update(stored)
        return "playback"

    def _get_checker_status(self, fields: dict[str, Any]) -> str:
        if self._checker is None:
            self._checker = fields["checker"]
        name = json.loads(self._checker)["checker"]  # a checker that fails here is asked again next time
        self._checker = None
        return str(name)

    def _get_camera_data(self, fields: dict[str, Any]) -> Any:
        serial = fields["camera"]
        if fields["semantic"]:
            return cameras.semantic(serial)
        oversize, self.oversize = self.oversize, False
        return cameras.picture(cameras.OVERSIZE if oversize else serial)

    def _get_observation(self, fields: dict[str, Any]) -> Any:
        if fields["startRecording"]:
            name = fields["task_name"]
            taken = sum(known.startswith(name) for known in self.recordings)
            self.recording = f"{name}_{taken}" if taken else name
            self.recordings.append(self.recording)
            return "Start"
        if fields["stopRecording"]:
            self.recording = None
            return "Stop"
        if not self._settings.patched:
            raise ValueError("GetObservation is not supported")
        return {
            "joints": dict(self._articulation()) if fields["isJoint"] else {},
            "poses": [self._get_object_pose({"object_prim_path": prim}) for prim in fields["objectPrims"]],
        }
