"""Questions to a simulator whose right answers are known, asked over raw bytes, one by one or many at once."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc

from blueprint_clients.genie_sim.messages import load
from support.genie_sim import cameras
from support.genie_sim.simulation import NUMBERED, numbered_pose
from support.genie_sim.wire import pose_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.protobuf.message import Message

Metadata = tuple[tuple[str, str | bytes], ...]

UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@dataclass(frozen=True, slots=True)
class Question:
    """A request that no other question repeats, and how to tell its answer from another's."""

    method: str
    request: bytes
    right: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a question ended.

    - `kind`: `right`, `wrong` (OK with another's answer), or the name of the status.
    """

    kind: str
    details: str = ""
    trailers: Metadata = ()


def object_pose(number: int) -> Question:
    """Where the numbered object is: known once init_robot has run in this life of the simulator."""
    response = load().methods["get_object_pose"].response

    def right(answer: bytes) -> bool:
        return pose_of(response.FromString(answer).object_pose) == numbered_pose(number)  # type: ignore[attr-defined]  # made at run time

    return Question("get_object_pose", _bytes("GetObjectPoseReq", prim_path=f"{NUMBERED}{number}"), right)


def part_joint(number: int) -> Question:
    """The joint of the part of this number."""
    response = load().methods["get_part_dof_joint"].response

    def right(answer: bytes) -> bool:
        return bool(response.FromString(answer).joint_name == f"part_{number}")  # type: ignore[attr-defined]  # made at run time

    request = _bytes("GetPartDofJointReq", prim_path=f"{NUMBERED}{number}", part_name=f"part_{number}")
    return Question("get_part_dof_joint", request, right)


def ik_status(number: int) -> Question:
    """The joints that reach a target which stands `number` metres away."""
    response = load().methods["get_ik_status"].response
    x, y, z = (float(number), number + 0.25, number + 0.5)
    matrix = [1, 0, 0, x, 0, 1, 0, y, 0, 0, 1, z, 0, 0, 0, 1]

    def right(answer: bytes) -> bool:
        found: Any = response.FromString(answer)
        return [list(one.joint_positions) for one in found.IKStatus] == [[x, y, z]]

    return Question("get_ik_status", _bytes("GetIKStatusReq", target_pose=[{"elements": matrix}]), right)


def frame_state(number: int) -> Question:
    """A write that the simulator appends: its answer tells nothing, its executions are to be counted."""
    return Question("set_frame_state", _bytes("SetFrameStateReq", frame_state=f'{{"frame": {number}}}'), _says_ok)


def camera(serial: str) -> Question:
    """A picture, byte for byte; of patched builds only."""
    response = load().methods["get_camera_data"].response

    def right(answer: bytes) -> bool:
        found: Any = response.FromString(answer)
        _, _, colour, depth = cameras.picture(serial)
        return bool(found.color_image.data == colour and found.depth_image.data == depth)

    return Question("get_camera_data", _bytes("GetCameraDataRequest", serial_no=serial), right)


def mixed(number: int) -> Question:
    """One of three reads, in turn."""
    return (object_pose, part_joint, ik_status)[number % 3](number)


class Caller:
    """A client with a channel of its own.

    - `metadata`: sent with every call.
    """

    def __init__(self, address: str, *, metadata: Metadata = (), options: Iterable[tuple[str, Any]] = ()) -> None:
        # A channel of its own, not the process-wide connection that grpc would share between equal ones.
        own = (("grpc.use_local_subchannel_pool", 1), *UNLIMITED, *options)
        self.channel = grpc.insecure_channel(address, options=own)
        self._metadata = metadata

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.channel.close()

    def call(self, method: str, request: bytes | Message = b"", timeout: float | None = 10.0) -> bytes:
        """The raw reply. Raises grpc.RpcError."""
        reply: bytes = self.begin(method, request, timeout).result()
        return reply

    def begin(self, method: str, request: bytes | Message = b"", timeout: float | None = 10.0) -> Any:
        """The call in flight, as grpc gives it: with result(), cancel(), code() and trailing_metadata()."""
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        path = load().methods[method].path
        call: Any = self.channel.unary_unary(path)
        return call.future(payload, timeout=timeout, metadata=self._metadata)

    def ask(self, question: Question, timeout: float | None = 10.0) -> Outcome:
        """Ask and judge the answer."""
        return judged(question, self.begin(question.method, question.request, timeout))

    def said(self, method: str, timeout: float | None = 10.0, **fields: Any) -> str:
        """The reply's msg, errmsg or recordingState, for a request with these fields. Raises grpc.RpcError."""
        shape = load().methods[method]
        reply: Any = shape.response.FromString(self.call(method, shape.request(**fields), timeout))
        for name in ("msg", "errmsg", "recordingState"):
            if name in reply.DESCRIPTOR.fields_by_name:
                return str(getattr(reply, name))
        raise ValueError(f"{method} answers without words: {reply}")

    def init_robot(self, timeout: float | None = 30.0) -> str:
        """Load the robot and the scene, which every articulation needs; what it said."""
        return self.said("init_robot", timeout, robot_cfg_file="robot.json", scene_usd_path="scene.usd")

    def ready(self, timeout: float) -> bool:
        """Whether the channel becomes READY in so many seconds."""
        try:
            grpc.channel_ready_future(self.channel).result(timeout=timeout)
        except grpc.FutureTimeoutError:
            return False
        return True


def judged(question: Question, call: Any) -> Outcome:
    """How a call that was begun ended; waits for it."""
    failure = call.exception()
    if failure is not None:
        if not isinstance(failure, grpc.RpcError):
            raise failure
        return Outcome(call.code().name, str(call.details()), _pairs(call.trailing_metadata()))
    kind = "right" if question.right(call.result()) else "wrong"
    return Outcome(kind, "", _pairs(call.trailing_metadata()))


def ask_at_once(
    address: str,
    *,
    clients: int,
    calls: int,
    timeout: float,
    question: Callable[[int], Question] = mixed,
    metadata: Callable[[int], Metadata] = lambda _client: (),
) -> Counter[str]:
    """So many clients, each asking so many questions one after the other; how many ended in which way.

    Takes at most calls x timeout seconds, and a little.
    """
    counted: Counter[str] = Counter()
    together = threading.Barrier(clients)
    failures: list[BaseException] = []

    def ask(client: int) -> None:
        try:
            with Caller(address, metadata=metadata(client)) as caller:
                caller.ready(timeout)
                together.wait(timeout * 10)
                outcomes = [caller.ask(question(client * calls + call), timeout).kind for call in range(calls)]
            counted.update(outcomes)
        except (grpc.RpcError, threading.BrokenBarrierError, ValueError, AssertionError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return counted


def _says_ok(answer: bytes) -> bool:
    return b"ERROR" not in answer


def _bytes(message: str, **fields: Any) -> bytes:
    return load().new(message, **fields).SerializeToString()


def _pairs(trailers: Sequence[Any] | None) -> Metadata:
    return tuple((key, value) for key, value in trailers or ())
