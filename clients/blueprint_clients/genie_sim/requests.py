"""Requests from keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprint_clients.genie_sim.errors import BadRequest
from blueprint_clients.genie_sim.messages import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from blueprint_clients.genie_sim.messages import Method


def request_of(method: Method, fields: Mapping[str, Any]) -> Message:
    """Make the request; None leaves a field out.

    A message in it may be one of this library's, a mapping of its fields, or one of the same name from the job's own
    stubs. Raises TypeError or ValueError for what a field cannot hold, BadRequest for what the simulator would never
    answer.
    """
    if method.name == "set_light" and not fields.get("lights"):
        message = "set_light without a light never returns from the simulator and blocks every other call: send one"
        raise BadRequest(message, method=method.name, not_sent=True)
    known = method.request.DESCRIPTOR.fields_by_name
    taken: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        kind = known[name].message_type if name in known else None
        if kind is None:
            taken[name] = value
        elif isinstance(value, (list, tuple)):
            taken[name] = [_own(kind, one) for one in value]
        else:
            taken[name] = _own(kind, value)
    return method.request(**taken)


def _own(kind: Any, value: Any) -> Any:
    """Give a message as one of this library's: classes of two pools hold the same bytes and are different types."""
    theirs = getattr(value, "DESCRIPTOR", None)
    if theirs is None or theirs is kind or theirs.full_name != kind.full_name:
        return value
    return load().type_of(kind.full_name.rpartition(".")[2]).FromString(value.SerializeToString())
