"""Poses in messages, as far as reading back needs them: what a write wanted, and where the object stands now."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, NamedTuple

from blueprint_proxy.upstreams.geniesim.methods import PACKAGE
from blueprint_proxy.upstreams.geniesim.wire import NotProtobuf, fields

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BACK = f"{PACKAGE}SimObjectService/get_object_pose"
CLOSE = 1e-4
"""Metres, and quaternion components: the simulator keeps single precision."""

Pose = tuple[float, ...]
"""x, y, z in metres, then the quaternion w, x, y, z."""


class Wanted(NamedTuple):
    """Where a write wanted an object to stand."""

    prim: bytes
    pose: Pose


def wanted(operation: str, message: bytes) -> Wanted | None:
    """What add_object or set_object_pose asked for, of several objects the last; None for any other call."""
    try:
        if operation == "add_object":
            found = dict(fields(message))
            return _wanted(found.get(2), found.get(4))
        if operation == "set_object_pose":
            placed = [value for number, value in fields(message) if number == 1 and isinstance(value, bytes)]
            if placed:
                found = dict(fields(placed[-1]))
                return _wanted(found.get(1), found.get(2))
    except NotProtobuf:
        pass
    return None


def question(prim: bytes) -> bytes:
    """A GetObjectPoseReq for it."""
    return b"\n" + _varint(len(prim)) + prim


def stands(message: bytes, at: Pose) -> bool | None:
    """Whether the GetObjectPoseRsp says that the object stands there; None where it says nothing that can be read."""
    try:
        found = dict(fields(message)).get(2)
        if not isinstance(found, bytes):
            return None
        pose = _pose(found)
    except NotProtobuf:
        return None
    if any(not math.isclose(one, other, abs_tol=CLOSE) for one, other in zip(pose[:3], at[:3], strict=True)):
        return False
    # q and -q are the same rotation
    return abs(abs(sum(one * other for one, other in zip(pose[3:], at[3:], strict=True))) - _norm(at)) < CLOSE * 10


def _norm(pose: Pose) -> float:
    return sum(part * part for part in pose[3:])


def _wanted(prim: object, pose: object) -> Wanted | None:
    return Wanted(prim, _pose(pose)) if isinstance(prim, bytes) and prim and isinstance(pose, bytes) else None


def _pose(message: bytes) -> Pose:
    found = dict(fields(message))
    return (*_doubles(found.get(1), 3), *_doubles(found.get(2), 4))


def _doubles(message: object, count: int) -> Iterator[float]:
    found = dict(fields(message)) if isinstance(message, bytes) else {}
    for number in range(1, count + 1):
        value = found.get(number, b"\0" * 8)
        yield struct.unpack("<d", value)[0] if isinstance(value, bytes) and len(value) == 8 else 0.0


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
