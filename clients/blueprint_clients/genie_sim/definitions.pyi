# What Genie Sim's message classes hold. Made from protos/ by `make protos`.

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer
from google.protobuf.message import Message

class JointCommand(Message):
    name: str
    sequence: int
    position: float
    velocity: float
    effort: float
    stiffness: float
    damping: float
    def __init__(
        self,
        *,
        name: str = ...,
        sequence: int = ...,
        position: float = ...,
        velocity: float = ...,
        effort: float = ...,
        stiffness: float = ...,
        damping: float = ...,
    ) -> None: ...

class JointState(Message):
    name: str
    sequence: int
    position: float
    velocity: float
    effort: float
    def __init__(
        self, *, name: str = ..., sequence: int = ..., position: float = ..., velocity: float = ..., effort: float = ...
    ) -> None: ...

class Quaternion(Message):
    x: float
    y: float
    z: float
    w: float
    def __init__(self, *, x: float = ..., y: float = ..., z: float = ..., w: float = ...) -> None: ...

class Rpy(Message):
    rw: float
    rx: float
    ry: float
    rz: float
    def __init__(self, *, rw: float = ..., rx: float = ..., ry: float = ..., rz: float = ...) -> None: ...

class Vec3(Message):
    x: float
    y: float
    z: float
    def __init__(self, *, x: float = ..., y: float = ..., z: float = ...) -> None: ...

class SE3RpyPose(Message):
    position: Vec3
    rpy: Rpy
    def __init__(
        self, *, position: Vec3 | Mapping[str, Any] | None = ..., rpy: Rpy | Mapping[str, Any] | None = ...
    ) -> None: ...

class SE3MatrixPose(Message):
    elements: RepeatedScalarFieldContainer[float]
    def __init__(self, *, elements: Sequence[float] = ...) -> None: ...

class LinearMoveReq(Message):
    robot_name: str
    pose: SE3RpyPose
    mode: int
    is_block: bool
    distance_frame: float
    ext: LinearMoveExt
    ee_interpolation: bool
    goal_offset: RepeatedScalarFieldContainer[float]
    path_constraint: RepeatedScalarFieldContainer[float]
    offset_and_constraint_in_goal_frame: bool
    disable_collision_links: RepeatedScalarFieldContainer[str]
    motion_run_ratio: float
    gripper_action_timing: str
    from_current_pose: bool
    def __init__(
        self,
        *,
        robot_name: str = ...,
        pose: SE3RpyPose | Mapping[str, Any] | None = ...,
        mode: int = ...,
        is_block: bool = ...,
        distance_frame: float = ...,
        ext: LinearMoveExt | Mapping[str, Any] | None = ...,
        ee_interpolation: bool = ...,
        goal_offset: Sequence[float] = ...,
        path_constraint: Sequence[float] = ...,
        offset_and_constraint_in_goal_frame: bool = ...,
        disable_collision_links: Sequence[str] = ...,
        motion_run_ratio: float = ...,
        gripper_action_timing: str = ...,
        from_current_pose: bool = ...,
    ) -> None: ...

class LinearMoveExt(Message):
    acc: float
    tol: float
    option_cond: OptionalCond
    def __init__(
        self, *, acc: float = ..., tol: float = ..., option_cond: OptionalCond | Mapping[str, Any] | None = ...
    ) -> None: ...

class OptionalCond(Message):
    executingLineId: int
    def __init__(self, *, executingLineId: int = ...) -> None: ...

class LinearMoveRsp(Message):
    errcode: int
    errmsg: str
    def __init__(self, *, errcode: int = ..., errmsg: str = ...) -> None: ...

class GetEEPoseReq(Message):
    is_right: bool
    def __init__(self, *, is_right: bool = ...) -> None: ...

class GetEEPoseRsp(Message):
    prim_path: str
    ee_pose: SE3RpyPose
    def __init__(self, *, prim_path: str = ..., ee_pose: SE3RpyPose | Mapping[str, Any] | None = ...) -> None: ...

class GetIKStatusReq(Message):
    is_right: bool
    target_pose: RepeatedCompositeFieldContainer[SE3MatrixPose]
    ObsAvoid: bool
    output_link_pose: bool
    def __init__(
        self,
        *,
        is_right: bool = ...,
        target_pose: Sequence[SE3MatrixPose | Mapping[str, Any]] = ...,
        ObsAvoid: bool = ...,
        output_link_pose: bool = ...,
    ) -> None: ...

class GetIKStatusRsp(Message):
    IKStatus: RepeatedCompositeFieldContainer[_IKStatus]
    def __init__(self, *, IKStatus: Sequence[_IKStatus | Mapping[str, Any]] = ...) -> None: ...

class IKStatus(Message):
    joint_names: RepeatedScalarFieldContainer[str]
    joint_positions: RepeatedScalarFieldContainer[float]
    link_poses: RepeatedCompositeFieldContainer[LinkPose]
    isSuccess: bool
    def __init__(
        self,
        *,
        joint_names: Sequence[str] = ...,
        joint_positions: Sequence[float] = ...,
        link_poses: Sequence[LinkPose | Mapping[str, Any]] = ...,
        isSuccess: bool = ...,
    ) -> None: ...

class LinkPose(Message):
    link_name: str
    link_pose: SE3RpyPose
    def __init__(self, *, link_name: str = ..., link_pose: SE3RpyPose | Mapping[str, Any] | None = ...) -> None: ...

class GetJointReq(Message):
    serial_no: str
    def __init__(self, *, serial_no: str = ...) -> None: ...

class GetJointRsp(Message):
    states: RepeatedCompositeFieldContainer[JointState]
    def __init__(self, *, states: Sequence[JointState | Mapping[str, Any]] = ...) -> None: ...

class SetJointReq(Message):
    commands: RepeatedCompositeFieldContainer[JointCommand]
    is_trajectory: bool
    def __init__(
        self, *, commands: Sequence[JointCommand | Mapping[str, Any]] = ..., is_trajectory: bool = ...
    ) -> None: ...

class SetJointRsp(Message):
    errmsg: str
    def __init__(self, *, errmsg: str = ...) -> None: ...

class GetCameraDataRequest(Message):
    serial_no: str
    def __init__(self, *, serial_no: str = ...) -> None: ...

class GetCameraDataResponse(Message):
    serial_no: str
    color_info: CameraInfo
    color_image: CompressedImage
    depth_info: CameraInfo
    depth_image: CompressedImage
    def __init__(
        self,
        *,
        serial_no: str = ...,
        color_info: CameraInfo | Mapping[str, Any] | None = ...,
        color_image: CompressedImage | Mapping[str, Any] | None = ...,
        depth_info: CameraInfo | Mapping[str, Any] | None = ...,
        depth_image: CompressedImage | Mapping[str, Any] | None = ...,
    ) -> None: ...

class GetCameraInfoRequest(Message):
    serial_no: str
    stream_type: int
    def __init__(self, *, serial_no: str = ..., stream_type: int = ...) -> None: ...

class GetCameraInfoResponse(Message):
    info: RepeatedCompositeFieldContainer[CameraInfo]
    def __init__(self, *, info: Sequence[CameraInfo | Mapping[str, Any]] = ...) -> None: ...

class CameraInfo(Message):
    width: int
    height: int
    ppx: float
    ppy: float
    fx: float
    fy: float
    model: int
    coeffs: RepeatedScalarFieldContainer[float]
    def __init__(
        self,
        *,
        width: int = ...,
        height: int = ...,
        ppx: float = ...,
        ppy: float = ...,
        fx: float = ...,
        fy: float = ...,
        model: int = ...,
        coeffs: Sequence[float] = ...,
    ) -> None: ...

class CompressedImage(Message):
    format: str
    data: bytes
    def __init__(self, *, format: str = ..., data: bytes = ...) -> None: ...

class ContactReportReq(Message):
    include_points: bool
    def __init__(self, *, include_points: bool = ...) -> None: ...

class ContactReportRsp(Message):
    contacts: RepeatedCompositeFieldContainer[ContactPoint]
    total_normal_force: float
    max_penetration_depth: float
    def __init__(
        self,
        *,
        contacts: Sequence[ContactPoint | Mapping[str, Any]] = ...,
        total_normal_force: float = ...,
        max_penetration_depth: float = ...,
    ) -> None: ...

class ContactPoint(Message):
    body_a: str
    body_b: str
    normal_force: float
    penetration_depth: float
    position: RepeatedScalarFieldContainer[float]
    normal: RepeatedScalarFieldContainer[float]
    force_vector: RepeatedScalarFieldContainer[float]
    tangent_impulse: RepeatedScalarFieldContainer[float]
    friction: float
    contact_area: float
    def __init__(
        self,
        *,
        body_a: str = ...,
        body_b: str = ...,
        normal_force: float = ...,
        penetration_depth: float = ...,
        position: Sequence[float] = ...,
        normal: Sequence[float] = ...,
        force_vector: Sequence[float] = ...,
        tangent_impulse: Sequence[float] = ...,
        friction: float = ...,
        contact_area: float = ...,
    ) -> None: ...

class EEWrenchReq(Message):
    is_right: bool
    def __init__(self, *, is_right: bool = ...) -> None: ...

class EEWrenchRsp(Message):
    force: RepeatedScalarFieldContainer[float]
    torque: RepeatedScalarFieldContainer[float]
    def __init__(self, *, force: Sequence[float] = ..., torque: Sequence[float] = ...) -> None: ...

class GetSemanticRequest(Message):
    serial_no: str
    def __init__(self, *, serial_no: str = ...) -> None: ...

class GetSemanticResponse(Message):
    serial_no: str
    semantic_mask: SemanticMask
    label_dict: RepeatedCompositeFieldContainer[SemanticLabel]
    def __init__(
        self,
        *,
        serial_no: str = ...,
        semantic_mask: SemanticMask | Mapping[str, Any] | None = ...,
        label_dict: Sequence[SemanticLabel | Mapping[str, Any]] = ...,
    ) -> None: ...

class SemanticMask(Message):
    name: str
    data: bytes
    def __init__(self, *, name: str = ..., data: bytes = ...) -> None: ...

class SemanticLabel(Message):
    label_id: int
    label_name: str
    def __init__(self, *, label_id: int = ..., label_name: str = ...) -> None: ...

class SetGripperStateReq(Message):
    gripper_command: str
    is_right: bool
    opened_width: float
    def __init__(self, *, gripper_command: str = ..., is_right: bool = ..., opened_width: float = ...) -> None: ...

class SetGripperStateRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class AddObjectReq(Message):
    usd_path: str
    prim_path: str
    label_name: str
    object_pose: SE3RpyPose
    object_scale: Vec3
    object_color: Color
    object_material: str
    object_mass: float
    add_particle: bool
    particle_position: Vec3
    particle_scale: Vec3
    particle_color: Color
    static_friction: float
    dynamic_friction: float
    add_rigid_body: bool
    model_type: str
    def __init__(
        self,
        *,
        usd_path: str = ...,
        prim_path: str = ...,
        label_name: str = ...,
        object_pose: SE3RpyPose | Mapping[str, Any] | None = ...,
        object_scale: Vec3 | Mapping[str, Any] | None = ...,
        object_color: Color | Mapping[str, Any] | None = ...,
        object_material: str = ...,
        object_mass: float = ...,
        add_particle: bool = ...,
        particle_position: Vec3 | Mapping[str, Any] | None = ...,
        particle_scale: Vec3 | Mapping[str, Any] | None = ...,
        particle_color: Color | Mapping[str, Any] | None = ...,
        static_friction: float = ...,
        dynamic_friction: float = ...,
        add_rigid_body: bool = ...,
        model_type: str = ...,
    ) -> None: ...

class AddObjectRsp(Message):
    prim_path: str
    label_name: str
    def __init__(self, *, prim_path: str = ..., label_name: str = ...) -> None: ...

class Color(Message):
    r: float
    g: float
    b: float
    def __init__(self, *, r: float = ..., g: float = ..., b: float = ...) -> None: ...

class GetObjectPoseReq(Message):
    prim_path: str
    def __init__(self, *, prim_path: str = ...) -> None: ...

class GetObjectPoseRsp(Message):
    prim_path: str
    object_pose: SE3RpyPose
    def __init__(self, *, prim_path: str = ..., object_pose: SE3RpyPose | Mapping[str, Any] | None = ...) -> None: ...

class GetPartDofJointReq(Message):
    prim_path: str
    part_name: str
    def __init__(self, *, prim_path: str = ..., part_name: str = ...) -> None: ...

class GetPartDofJointRsp(Message):
    joint_name: str
    joint_position: float
    joint_velocity: float
    def __init__(self, *, joint_name: str = ..., joint_position: float = ..., joint_velocity: float = ...) -> None: ...

class SetTargetPointReq(Message):
    point_position: Vec3
    def __init__(self, *, point_position: Vec3 | Mapping[str, Any] | None = ...) -> None: ...

class SetTargetPointRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class InitRobotReq(Message):
    robot_cfg_file: str
    robot_usd_path: str
    scene_usd_path: str
    robot_pose: SE3RpyPose
    stand_type: str
    stand_size_x: float
    stand_size_y: float
    joint_cmd: RepeatedCompositeFieldContainer[JointCommand]
    def __init__(
        self,
        *,
        robot_cfg_file: str = ...,
        robot_usd_path: str = ...,
        scene_usd_path: str = ...,
        robot_pose: SE3RpyPose | Mapping[str, Any] | None = ...,
        stand_type: str = ...,
        stand_size_x: float = ...,
        stand_size_y: float = ...,
        joint_cmd: Sequence[JointCommand | Mapping[str, Any]] = ...,
    ) -> None: ...

class InitRobotRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class ResetReq(Message):
    reset: bool
    def __init__(self, *, reset: bool = ...) -> None: ...

class ResetRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class TaskStatusReq(Message):
    isSuccess: bool
    failStep: RepeatedScalarFieldContainer[int]
    def __init__(self, *, isSuccess: bool = ..., failStep: Sequence[int] = ...) -> None: ...

class TaskStatusRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class ExitReq(Message):
    exit: bool
    def __init__(self, *, exit: bool = ...) -> None: ...

class ExitRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class GetObservationReq(Message):
    isCam: bool
    CameraReq: CameraRequest
    isJoint: bool
    isPose: bool
    objectPrims: RepeatedScalarFieldContainer[str]
    isGripper: bool
    gripperReq: GripperRequest
    startRecording: bool
    stopRecording: bool
    fps: int
    task_name: str
    def __init__(
        self,
        *,
        isCam: bool = ...,
        CameraReq: CameraRequest | Mapping[str, Any] | None = ...,
        isJoint: bool = ...,
        isPose: bool = ...,
        objectPrims: Sequence[str] = ...,
        isGripper: bool = ...,
        gripperReq: GripperRequest | Mapping[str, Any] | None = ...,
        startRecording: bool = ...,
        stopRecording: bool = ...,
        fps: int = ...,
        task_name: str = ...,
    ) -> None: ...

class CameraRequest(Message):
    render_depth: bool
    render_semantic: bool
    camera_prim_list: RepeatedScalarFieldContainer[str]
    additional_parameters: str
    def __init__(
        self,
        *,
        render_depth: bool = ...,
        render_semantic: bool = ...,
        camera_prim_list: Sequence[str] = ...,
        additional_parameters: str = ...,
    ) -> None: ...

class GripperRequest(Message):
    left: bool
    right: bool
    def __init__(self, *, left: bool = ..., right: bool = ...) -> None: ...

class GetObservationRsp(Message):
    camera: RepeatedCompositeFieldContainer[CameraRsp]
    pose: RepeatedCompositeFieldContainer[ObjectRsp]
    joint: JointRsp
    gripper: GripperRsp
    recordingState: str
    def __init__(
        self,
        *,
        camera: Sequence[CameraRsp | Mapping[str, Any]] = ...,
        pose: Sequence[ObjectRsp | Mapping[str, Any]] = ...,
        joint: JointRsp | Mapping[str, Any] | None = ...,
        gripper: GripperRsp | Mapping[str, Any] | None = ...,
        recordingState: str = ...,
    ) -> None: ...

class CameraRsp(Message):
    camera_info: CamInfo
    rgb_camera: CamImage
    depth_camera: CamImage
    semantic_mask: SemanticData
    label_dict: RepeatedCompositeFieldContainer[SemanticDict]
    extrinsic: RepeatedScalarFieldContainer[float]
    calibration_id: str
    def __init__(
        self,
        *,
        camera_info: CamInfo | Mapping[str, Any] | None = ...,
        rgb_camera: CamImage | Mapping[str, Any] | None = ...,
        depth_camera: CamImage | Mapping[str, Any] | None = ...,
        semantic_mask: SemanticData | Mapping[str, Any] | None = ...,
        label_dict: Sequence[SemanticDict | Mapping[str, Any]] = ...,
        extrinsic: Sequence[float] = ...,
        calibration_id: str = ...,
    ) -> None: ...

class CamInfo(Message):
    width: int
    height: int
    ppx: float
    ppy: float
    fx: float
    fy: float
    def __init__(
        self,
        *,
        width: int = ...,
        height: int = ...,
        ppx: float = ...,
        ppy: float = ...,
        fx: float = ...,
        fy: float = ...,
    ) -> None: ...

class CamImage(Message):
    format: str
    data: bytes
    def __init__(self, *, format: str = ..., data: bytes = ...) -> None: ...

class SemanticData(Message):
    name: str
    data: bytes
    def __init__(self, *, name: str = ..., data: bytes = ...) -> None: ...

class SemanticDict(Message):
    label_id: int
    label_name: str
    def __init__(self, *, label_id: int = ..., label_name: str = ...) -> None: ...

class ObjectRsp(Message):
    object_pose: SE3RpyPose
    def __init__(self, *, object_pose: SE3RpyPose | Mapping[str, Any] | None = ...) -> None: ...

class JointRsp(Message):
    left_arm: RepeatedCompositeFieldContainer[JointState]
    right_arm: RepeatedCompositeFieldContainer[JointState]
    body_arm: RepeatedCompositeFieldContainer[JointState]
    def __init__(
        self,
        *,
        left_arm: Sequence[JointState | Mapping[str, Any]] = ...,
        right_arm: Sequence[JointState | Mapping[str, Any]] = ...,
        body_arm: Sequence[JointState | Mapping[str, Any]] = ...,
    ) -> None: ...

class GripperRsp(Message):
    left_gripper: SE3RpyPose
    right_gripper: SE3RpyPose
    def __init__(
        self,
        *,
        left_gripper: SE3RpyPose | Mapping[str, Any] | None = ...,
        right_gripper: SE3RpyPose | Mapping[str, Any] | None = ...,
    ) -> None: ...

class GetCheckerStatusReq(Message):
    checker: str
    def __init__(self, *, checker: str = ...) -> None: ...

class GetCheckerStatusRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class AddCameraReq(Message):
    camera_prim: str
    camera_pose: SE3RpyPose
    focus_length: float
    horizontal_aperture: float
    vertical_aperture: float
    width: int
    height: int
    is_local: bool
    def __init__(
        self,
        *,
        camera_prim: str = ...,
        camera_pose: SE3RpyPose | Mapping[str, Any] | None = ...,
        focus_length: float = ...,
        horizontal_aperture: float = ...,
        vertical_aperture: float = ...,
        width: int = ...,
        height: int = ...,
        is_local: bool = ...,
    ) -> None: ...

class AddCameraRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class AttachReq(Message):
    obj_prims: RepeatedScalarFieldContainer[str]
    is_right: bool
    def __init__(self, *, obj_prims: Sequence[str] = ..., is_right: bool = ...) -> None: ...

class AttachRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class DetachReq(Message):
    detach: bool
    def __init__(self, *, detach: bool = ...) -> None: ...

class DetachRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class RemoveObstacleReq(Message):
    obj_prims: RepeatedScalarFieldContainer[str]
    def __init__(self, *, obj_prims: Sequence[str] = ...) -> None: ...

class RemoveObstacleRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class SetObjectPoseReq(Message):
    object_pose: RepeatedCompositeFieldContainer[ObjectPose]
    joint_cmd: RepeatedCompositeFieldContainer[JointCommand]
    object_joint: RepeatedCompositeFieldContainer[ObjectJoint]
    def __init__(
        self,
        *,
        object_pose: Sequence[ObjectPose | Mapping[str, Any]] = ...,
        joint_cmd: Sequence[JointCommand | Mapping[str, Any]] = ...,
        object_joint: Sequence[ObjectJoint | Mapping[str, Any]] = ...,
    ) -> None: ...

class ObjectPose(Message):
    prim_path: str
    pose: SE3RpyPose
    def __init__(self, *, prim_path: str = ..., pose: SE3RpyPose | Mapping[str, Any] | None = ...) -> None: ...

class ObjectJoint(Message):
    prim_path: str
    joint_cmd: RepeatedCompositeFieldContainer[JointCommand]
    def __init__(
        self, *, prim_path: str = ..., joint_cmd: Sequence[JointCommand | Mapping[str, Any]] = ...
    ) -> None: ...

class SetObjectPoseRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class SetLightReq(Message):
    lights: RepeatedCompositeFieldContainer[LightCfg]
    def __init__(self, *, lights: Sequence[LightCfg | Mapping[str, Any]] = ...) -> None: ...

class LightCfg(Message):
    light_type: str
    light_prim: str
    light_temperature: float
    light_intensity: float
    light_rotation: Rpy
    light_texture: str
    def __init__(
        self,
        *,
        light_type: str = ...,
        light_prim: str = ...,
        light_temperature: float = ...,
        light_intensity: float = ...,
        light_rotation: Rpy | Mapping[str, Any] | None = ...,
        light_texture: str = ...,
    ) -> None: ...

class SetLightRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class SetMaterailReq(Message):
    materials: RepeatedCompositeFieldContainer[MaterialInfo]
    def __init__(self, *, materials: Sequence[MaterialInfo | Mapping[str, Any]] = ...) -> None: ...

class MaterialInfo(Message):
    object_prim: str
    material_name: str
    material_path: str
    label_name: str
    def __init__(
        self, *, object_prim: str = ..., material_name: str = ..., material_path: str = ..., label_name: str = ...
    ) -> None: ...

class SetMaterialRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class SetTrajectoryListReq(Message):
    trajectory_point: RepeatedCompositeFieldContainer[SE3RpyPose]
    is_block: bool
    def __init__(
        self, *, trajectory_point: Sequence[SE3RpyPose | Mapping[str, Any]] = ..., is_block: bool = ...
    ) -> None: ...

class SetTrajectoryListRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class SetFrameStateReq(Message):
    frame_state: str
    def __init__(self, *, frame_state: str = ...) -> None: ...

class SetFrameStateRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class SetTaskMetricReq(Message):
    metric: str
    def __init__(self, *, metric: str = ...) -> None: ...

class SetTaskMetricRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class StoreCurrentStateReq(Message):
    playback_id: str
    def __init__(self, *, playback_id: str = ...) -> None: ...

class StoreCurrentStateRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

class PlaybackReq(Message):
    playback_id: str
    def __init__(self, *, playback_id: str = ...) -> None: ...

class PlaybackRsp(Message):
    msg: str
    def __init__(self, *, msg: str = ...) -> None: ...

_IKStatus = IKStatus
