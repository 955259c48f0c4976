"""Genie Sim's methods as data: what a repeat of each may do, how long it may take, how long before it is a hang.

The numbers are facts/geniesim.md §5's: bounds visible in the server and in its clients, not measured on Isaac Sim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blueprint_proxy.upstreams.geniesim.wire import NotProtobuf, fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blueprint_proxy.config import OperationClass

PACKAGE = "/aimdk.protocol."
INIT_ROBOT = "init_robot"
EXIT = "exit"
HEARTBEAT = ("/aimdk.protocol.SimObservationService/set_task_metric", b"\n\x02{}")
"""Path and message of the one call that goes through the simulator's loop and changes nothing: metric "{}"."""
UNKNOWN = "other"


class Method(NamedTuple):
    """`try_s`: seconds a caller waits for one try. `hang_s`: age of a call at which the simulator is declared hung.

    `first_s`: the hang age of the first such call after init_robot, where something is compiled or loaded then.
    `quick`: one tick of the loop, so that what a broken connection left behind in the server is over soon.
    `says`: the field of the reply in which the server puts its errors, where it has one.
    """

    class_: OperationClass
    try_s: float
    hang_s: float
    first_s: float | None = None
    quick: bool = False
    says: int | None = None


METHODS: Mapping[str, Method] = {
    "JointControlService/get_joint_position": Method("read_only", 5, 60, first_s=300, quick=True),
    "JointControlService/get_ee_pose": Method("read_only", 5, 60, quick=True),
    "JointControlService/get_ik_status": Method("read_only", 30, 180),
    "JointControlService/set_joint_position": Method("idempotent", 10, 60, first_s=300, says=1),
    "SimObjectService/get_object_pose": Method("read_only", 5, 60, quick=True),
    "SimObjectService/get_part_dof_joint": Method("read_only", 5, 60, quick=True),
    "SimObjectService/set_target_point": Method("idempotent", 5, 60, quick=True, says=1),
    "SimObjectService/add_object": Method("idempotent", 60, 300),
    "SimGripperService/set_gripper_state": Method("idempotent", 15, 60, says=1),
    "ArmControlService/linear_move": Method("unsafe", 120, 300, says=2),
    "CameraService/get_camera_data": Method("read_only", 30, 180),
    "CameraService/get_camera_info": Method("unsafe", 5, 60),
    "SimCameraService/get_semantic_data": Method("read_only", 30, 180),
    "SimObservationService/get_observation#start": Method("unsafe", 30, 120, says=5),
    "SimObservationService/get_observation#stop": Method("unsafe", 60, 180, says=5),
    "SimObservationService/get_observation#read": Method("read_only", 30, 180),
    "SimObservationService/reset": Method("unsafe", 60, 300, says=1),
    "SimObservationService/init_robot": Method("unsafe", 300, 600, says=1),
    "SimObservationService/add_camera": Method("unsafe", 60, 180, says=1),
    "SimObservationService/attach_obj": Method("unsafe", 30, 120, says=1),
    "SimObservationService/detach_obj": Method("idempotent", 30, 120, quick=True, says=1),
    "SimObservationService/remove_objs_from_obstacle": Method("idempotent", 10, 60, quick=True, says=1),
    "SimObservationService/set_object_pose": Method("idempotent", 10, 60, quick=True, says=1),
    "SimObservationService/set_light": Method("idempotent", 15, 60, quick=True, says=1),
    "SimObservationService/set_task_metric": Method("idempotent", 5, 60, quick=True, says=1),
    "SimObservationService/set_task_metric#bp": Method("unsafe", 30, 120, says=1),
    "SimObservationService/set_frame_state": Method("unsafe", 5, 60, quick=True, says=1),
    "SimObservationService/set_trajectory_list": Method("unsafe", 60, 300, says=1),
    "SimObservationService/set_material": Method("unsafe", 5, 60, says=1),
    "SimObservationService/store_current_state": Method("unsafe", 10, 60, quick=True, says=1),
    "SimObservationService/playback": Method("unsafe", 30, 120, says=1),
    "SimObservationService/get_checker_status": Method("unsafe", 10, 60, quick=True, says=1),
    "SimObservationService/task_status": Method("unsafe", 180, 300, says=1),
    "SimObservationService/exit": Method("unsafe", 620, 660, says=2),
    "SimObservationService/get_contact_report": Method("read_only", 5, 60, quick=True),
    "SimObservationService/get_ee_wrench": Method("read_only", 5, 60, quick=True),
}
"""By service and method; what a request's fields decide stands behind a `#`."""

OTHER = Method("unsafe", 30, 120)
"""What is not in the table: nothing is known of it."""

_BY_NAME = {path.partition("/")[2]: method for path, method in METHODS.items()}
_START, _STOP = 8, 9
"""Fields startRecording and stopRecording of GetObservationReq."""


def method(name: str) -> Method:
    """The row of an operation's name as `operation` gives it."""
    return _BY_NAME.get(name, OTHER)


def names() -> Iterator[str]:
    """Every name that `operation` gives, but for `other`."""
    return iter(_BY_NAME)


def operation(path: str, message: bytes) -> str:
    """The bounded name of the call of `path`, such as `get_observation#read`; `other` for what is not in the table.

    Where the message decides about a method's class and cannot be read, the name is that of the least safe one.
    """
    service, _, name = path.removeprefix(PACKAGE).partition("/")
    if not path.startswith(PACKAGE) or "#" in name:
        return UNKNOWN
    if name == "get_observation":
        name = _observation(message)
    elif name == "set_task_metric" and not _is_plain_metric(message):
        name = "set_task_metric#bp"
    return name if f"{service}/{name}" in METHODS else UNKNOWN


def refused_at_the_door(name: str, message: bytes) -> str | None:
    """Why a call must not reach the simulator at all; None where it may."""
    if name == "set_light" and not message:
        return "set_light with no light never returns from the simulator and blocks every other call: send one light"
    return None


def _observation(message: bytes) -> str:
    try:
        found = dict(fields(message))
    except NotProtobuf:
        return "get_observation#start"
    if found.get(_START):
        return "get_observation#start"
    return "get_observation#stop" if found.get(_STOP) else "get_observation#read"


def _is_plain_metric(message: bytes) -> bool:
    """Whether set_task_metric only stores a text. Patched servers take commands through it, marked `bp::`."""
    try:
        return not any(
            number == 1 and (isinstance(value, int) or value.startswith(b"bp::")) for number, value in fields(message)
        )
    except NotProtobuf:
        return False
