"""Genie Sim's methods, typed. Made from protos/ by `make protos`.

A keyword argument is a field of the request; what is left out has proto3's empty value. A message may be given as one
of blueprint_clients.genie_sim.definitions, as a mapping of its fields, or as one of that name from a job's own stubs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blueprint_clients.genie_sim import definitions as its


class GenieSimMethods(ABC):
    """One method for each of the simulator's: `timeout` in seconds, None for the method's usual one.

    Returns the answer's message, raises what blueprint_clients.genie_sim.errors has.
    """

    @abstractmethod
    def _ask(self, method: str, timeout: float | None, fields: Mapping[str, Any], /) -> Any:
        """Make the call."""

    def linear_move(
        self,
        *,
        robot_name: str = "",
        pose: its.SE3RpyPose | Mapping[str, Any] | None = None,
        mode: int = 0,
        is_block: bool = False,
        distance_frame: float = 0.0,
        ext: its.LinearMoveExt | Mapping[str, Any] | None = None,
        ee_interpolation: bool = False,
        goal_offset: Sequence[float] = (),
        path_constraint: Sequence[float] = (),
        offset_and_constraint_in_goal_frame: bool = False,
        disable_collision_links: Sequence[str] = (),
        motion_run_ratio: float = 0.0,
        gripper_action_timing: str = "",
        from_current_pose: bool = False,
        timeout: float | None = None,
    ) -> its.LinearMoveRsp:
        """Call ArmControlService/linear_move."""
        answer: its.LinearMoveRsp = self._ask(
            "linear_move",
            timeout,
            {
                "robot_name": robot_name,
                "pose": pose,
                "mode": mode,
                "is_block": is_block,
                "distance_frame": distance_frame,
                "ext": ext,
                "ee_interpolation": ee_interpolation,
                "goal_offset": goal_offset,
                "path_constraint": path_constraint,
                "offset_and_constraint_in_goal_frame": offset_and_constraint_in_goal_frame,
                "disable_collision_links": disable_collision_links,
                "motion_run_ratio": motion_run_ratio,
                "gripper_action_timing": gripper_action_timing,
                "from_current_pose": from_current_pose,
            },
        )
        return answer

    def get_ee_pose(
        self,
        *,
        is_right: bool = False,
        timeout: float | None = None,
    ) -> its.GetEEPoseRsp:
        """Call JointControlService/get_ee_pose."""
        answer: its.GetEEPoseRsp = self._ask("get_ee_pose", timeout, {"is_right": is_right})
        return answer

    def get_ik_status(
        self,
        *,
        is_right: bool = False,
        target_pose: Sequence[its.SE3MatrixPose | Mapping[str, Any]] = (),
        ObsAvoid: bool = False,
        output_link_pose: bool = False,
        timeout: float | None = None,
    ) -> its.GetIKStatusRsp:
        """Call JointControlService/get_ik_status."""
        answer: its.GetIKStatusRsp = self._ask(
            "get_ik_status",
            timeout,
            {
                "is_right": is_right,
                "target_pose": target_pose,
                "ObsAvoid": ObsAvoid,
                "output_link_pose": output_link_pose,
            },
        )
        return answer

    def get_joint_position(
        self,
        *,
        serial_no: str = "",
        timeout: float | None = None,
    ) -> its.GetJointRsp:
        """Call JointControlService/get_joint_position."""
        answer: its.GetJointRsp = self._ask("get_joint_position", timeout, {"serial_no": serial_no})
        return answer

    def set_joint_position(
        self,
        *,
        commands: Sequence[its.JointCommand | Mapping[str, Any]] = (),
        is_trajectory: bool = False,
        timeout: float | None = None,
    ) -> its.SetJointRsp:
        """Call JointControlService/set_joint_position."""
        answer: its.SetJointRsp = self._ask(
            "set_joint_position", timeout, {"commands": commands, "is_trajectory": is_trajectory}
        )
        return answer

    def get_camera_info(
        self,
        *,
        serial_no: str = "",
        stream_type: int = 0,
        timeout: float | None = None,
    ) -> its.GetCameraInfoResponse:
        """Call CameraService/get_camera_info."""
        answer: its.GetCameraInfoResponse = self._ask(
            "get_camera_info", timeout, {"serial_no": serial_no, "stream_type": stream_type}
        )
        return answer

    def get_camera_data(
        self,
        *,
        serial_no: str = "",
        timeout: float | None = None,
    ) -> its.GetCameraDataResponse:
        """Call CameraService/get_camera_data."""
        answer: its.GetCameraDataResponse = self._ask("get_camera_data", timeout, {"serial_no": serial_no})
        return answer

    def get_semantic_data(
        self,
        *,
        serial_no: str = "",
        timeout: float | None = None,
    ) -> its.GetSemanticResponse:
        """Call SimCameraService/get_semantic_data."""
        answer: its.GetSemanticResponse = self._ask("get_semantic_data", timeout, {"serial_no": serial_no})
        return answer

    def set_gripper_state(
        self,
        *,
        gripper_command: str = "",
        is_right: bool = False,
        opened_width: float = 0.0,
        timeout: float | None = None,
    ) -> its.SetGripperStateRsp:
        """Call SimGripperService/set_gripper_state."""
        answer: its.SetGripperStateRsp = self._ask(
            "set_gripper_state",
            timeout,
            {"gripper_command": gripper_command, "is_right": is_right, "opened_width": opened_width},
        )
        return answer

    def add_object(
        self,
        *,
        usd_path: str = "",
        prim_path: str = "",
        label_name: str = "",
        object_pose: its.SE3RpyPose | Mapping[str, Any] | None = None,
        object_scale: its.Vec3 | Mapping[str, Any] | None = None,
        object_color: its.Color | Mapping[str, Any] | None = None,
        object_material: str = "",
        object_mass: float = 0.0,
        add_particle: bool = False,
        particle_position: its.Vec3 | Mapping[str, Any] | None = None,
        particle_scale: its.Vec3 | Mapping[str, Any] | None = None,
        particle_color: its.Color | Mapping[str, Any] | None = None,
        static_friction: float = 0.0,
        dynamic_friction: float = 0.0,
        add_rigid_body: bool = False,
        model_type: str = "",
        timeout: float | None = None,
    ) -> its.AddObjectRsp:
        """Call SimObjectService/add_object."""
        answer: its.AddObjectRsp = self._ask(
            "add_object",
            timeout,
            {
                "usd_path": usd_path,
                "prim_path": prim_path,
                "label_name": label_name,
                "object_pose": object_pose,
                "object_scale": object_scale,
                "object_color": object_color,
                "object_material": object_material,
                "object_mass": object_mass,
                "add_particle": add_particle,
                "particle_position": particle_position,
                "particle_scale": particle_scale,
                "particle_color": particle_color,
                "static_friction": static_friction,
                "dynamic_friction": dynamic_friction,
                "add_rigid_body": add_rigid_body,
                "model_type": model_type,
            },
        )
        return answer

    def get_object_pose(
        self,
        *,
        prim_path: str = "",
        timeout: float | None = None,
    ) -> its.GetObjectPoseRsp:
        """Call SimObjectService/get_object_pose."""
        answer: its.GetObjectPoseRsp = self._ask("get_object_pose", timeout, {"prim_path": prim_path})
        return answer

    def get_part_dof_joint(
        self,
        *,
        prim_path: str = "",
        part_name: str = "",
        timeout: float | None = None,
    ) -> its.GetPartDofJointRsp:
        """Call SimObjectService/get_part_dof_joint."""
        answer: its.GetPartDofJointRsp = self._ask(
            "get_part_dof_joint", timeout, {"prim_path": prim_path, "part_name": part_name}
        )
        return answer

    def set_target_point(
        self,
        *,
        point_position: its.Vec3 | Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> its.SetTargetPointRsp:
        """Call SimObjectService/set_target_point."""
        answer: its.SetTargetPointRsp = self._ask("set_target_point", timeout, {"point_position": point_position})
        return answer

    def init_robot(
        self,
        *,
        robot_cfg_file: str = "",
        robot_usd_path: str = "",
        scene_usd_path: str = "",
        robot_pose: its.SE3RpyPose | Mapping[str, Any] | None = None,
        stand_type: str = "",
        stand_size_x: float = 0.0,
        stand_size_y: float = 0.0,
        joint_cmd: Sequence[its.JointCommand | Mapping[str, Any]] = (),
        timeout: float | None = None,
    ) -> its.InitRobotRsp:
        """Call SimObservationService/init_robot."""
        answer: its.InitRobotRsp = self._ask(
            "init_robot",
            timeout,
            {
                "robot_cfg_file": robot_cfg_file,
                "robot_usd_path": robot_usd_path,
                "scene_usd_path": scene_usd_path,
                "robot_pose": robot_pose,
                "stand_type": stand_type,
                "stand_size_x": stand_size_x,
                "stand_size_y": stand_size_y,
                "joint_cmd": joint_cmd,
            },
        )
        return answer

    def reset(
        self,
        *,
        reset: bool = False,
        timeout: float | None = None,
    ) -> its.ResetRsp:
        """Call SimObservationService/reset."""
        answer: its.ResetRsp = self._ask("reset", timeout, {"reset": reset})
        return answer

    def task_status(
        self,
        *,
        isSuccess: bool = False,
        failStep: Sequence[int] = (),
        timeout: float | None = None,
    ) -> its.TaskStatusRsp:
        """Call SimObservationService/task_status."""
        answer: its.TaskStatusRsp = self._ask("task_status", timeout, {"isSuccess": isSuccess, "failStep": failStep})
        return answer

    def exit(
        self,
        *,
        exit: bool = False,
        timeout: float | None = None,
    ) -> its.ExitRsp:
        """Call SimObservationService/exit."""
        answer: its.ExitRsp = self._ask("exit", timeout, {"exit": exit})
        return answer

    def get_observation(
        self,
        *,
        isCam: bool = False,
        CameraReq: its.CameraRequest | Mapping[str, Any] | None = None,
        isJoint: bool = False,
        isPose: bool = False,
        objectPrims: Sequence[str] = (),
        isGripper: bool = False,
        gripperReq: its.GripperRequest | Mapping[str, Any] | None = None,
        startRecording: bool = False,
        stopRecording: bool = False,
        fps: int = 0,
        task_name: str = "",
        timeout: float | None = None,
    ) -> its.GetObservationRsp:
        """Call SimObservationService/get_observation."""
        answer: its.GetObservationRsp = self._ask(
            "get_observation",
            timeout,
            {
                "isCam": isCam,
                "CameraReq": CameraReq,
                "isJoint": isJoint,
                "isPose": isPose,
                "objectPrims": objectPrims,
                "isGripper": isGripper,
                "gripperReq": gripperReq,
                "startRecording": startRecording,
                "stopRecording": stopRecording,
                "fps": fps,
                "task_name": task_name,
            },
        )
        return answer

    def get_checker_status(
        self,
        *,
        checker: str = "",
        timeout: float | None = None,
    ) -> its.GetCheckerStatusRsp:
        """Call SimObservationService/get_checker_status."""
        answer: its.GetCheckerStatusRsp = self._ask("get_checker_status", timeout, {"checker": checker})
        return answer

    def get_contact_report(
        self,
        *,
        include_points: bool = False,
        timeout: float | None = None,
    ) -> its.ContactReportRsp:
        """Call SimObservationService/get_contact_report."""
        answer: its.ContactReportRsp = self._ask("get_contact_report", timeout, {"include_points": include_points})
        return answer

    def get_ee_wrench(
        self,
        *,
        is_right: bool = False,
        timeout: float | None = None,
    ) -> its.EEWrenchRsp:
        """Call SimObservationService/get_ee_wrench."""
        answer: its.EEWrenchRsp = self._ask("get_ee_wrench", timeout, {"is_right": is_right})
        return answer

    def add_camera(
        self,
        *,
        camera_prim: str = "",
        camera_pose: its.SE3RpyPose | Mapping[str, Any] | None = None,
        focus_length: float = 0.0,
        horizontal_aperture: float = 0.0,
        vertical_aperture: float = 0.0,
        width: int = 0,
        height: int = 0,
        is_local: bool = False,
        timeout: float | None = None,
    ) -> its.AddCameraRsp:
        """Call SimObservationService/add_camera."""
        answer: its.AddCameraRsp = self._ask(
            "add_camera",
            timeout,
            {
                "camera_prim": camera_prim,
                "camera_pose": camera_pose,
                "focus_length": focus_length,
                "horizontal_aperture": horizontal_aperture,
                "vertical_aperture": vertical_aperture,
                "width": width,
                "height": height,
                "is_local": is_local,
            },
        )
        return answer

    def attach_obj(
        self,
        *,
        obj_prims: Sequence[str] = (),
        is_right: bool = False,
        timeout: float | None = None,
    ) -> its.AttachRsp:
        """Call SimObservationService/attach_obj."""
        answer: its.AttachRsp = self._ask("attach_obj", timeout, {"obj_prims": obj_prims, "is_right": is_right})
        return answer

    def detach_obj(
        self,
        *,
        detach: bool = False,
        timeout: float | None = None,
    ) -> its.DetachRsp:
        """Call SimObservationService/detach_obj."""
        answer: its.DetachRsp = self._ask("detach_obj", timeout, {"detach": detach})
        return answer

    def remove_objs_from_obstacle(
        self,
        *,
        obj_prims: Sequence[str] = (),
        timeout: float | None = None,
    ) -> its.RemoveObstacleRsp:
        """Call SimObservationService/remove_objs_from_obstacle."""
        answer: its.RemoveObstacleRsp = self._ask("remove_objs_from_obstacle", timeout, {"obj_prims": obj_prims})
        return answer

    def set_object_pose(
        self,
        *,
        object_pose: Sequence[its.ObjectPose | Mapping[str, Any]] = (),
        joint_cmd: Sequence[its.JointCommand | Mapping[str, Any]] = (),
        object_joint: Sequence[its.ObjectJoint | Mapping[str, Any]] = (),
        timeout: float | None = None,
    ) -> its.SetObjectPoseRsp:
        """Call SimObservationService/set_object_pose."""
        answer: its.SetObjectPoseRsp = self._ask(
            "set_object_pose",
            timeout,
            {"object_pose": object_pose, "joint_cmd": joint_cmd, "object_joint": object_joint},
        )
        return answer

    def set_light(
        self,
        *,
        lights: Sequence[its.LightCfg | Mapping[str, Any]] = (),
        timeout: float | None = None,
    ) -> its.SetLightRsp:
        """Call SimObservationService/set_light."""
        answer: its.SetLightRsp = self._ask("set_light", timeout, {"lights": lights})
        return answer

    def set_material(
        self,
        *,
        materials: Sequence[its.MaterialInfo | Mapping[str, Any]] = (),
        timeout: float | None = None,
    ) -> its.SetMaterialRsp:
        """Call SimObservationService/set_material."""
        answer: its.SetMaterialRsp = self._ask("set_material", timeout, {"materials": materials})
        return answer

    def set_trajectory_list(
        self,
        *,
        trajectory_point: Sequence[its.SE3RpyPose | Mapping[str, Any]] = (),
        is_block: bool = False,
        timeout: float | None = None,
    ) -> its.SetTrajectoryListRsp:
        """Call SimObservationService/set_trajectory_list."""
        answer: its.SetTrajectoryListRsp = self._ask(
            "set_trajectory_list", timeout, {"trajectory_point": trajectory_point, "is_block": is_block}
        )
        return answer

    def set_frame_state(
        self,
        *,
        frame_state: str = "",
        timeout: float | None = None,
    ) -> its.SetFrameStateRsp:
        """Call SimObservationService/set_frame_state."""
        answer: its.SetFrameStateRsp = self._ask("set_frame_state", timeout, {"frame_state": frame_state})
        return answer

    def set_task_metric(
        self,
        *,
        metric: str = "",
        timeout: float | None = None,
    ) -> its.SetTaskMetricRsp:
        """Call SimObservationService/set_task_metric."""
        answer: its.SetTaskMetricRsp = self._ask("set_task_metric", timeout, {"metric": metric})
        return answer

    def store_current_state(
        self,
        *,
        playback_id: str = "",
        timeout: float | None = None,
    ) -> its.StoreCurrentStateRsp:
        """Call SimObservationService/store_current_state."""
        answer: its.StoreCurrentStateRsp = self._ask("store_current_state", timeout, {"playback_id": playback_id})
        return answer

    def playback(
        self,
        *,
        playback_id: str = "",
        timeout: float | None = None,
    ) -> its.PlaybackRsp:
        """Call SimObservationService/playback."""
        answer: its.PlaybackRsp = self._ask("playback", timeout, {"playback_id": playback_id})
        return answer
