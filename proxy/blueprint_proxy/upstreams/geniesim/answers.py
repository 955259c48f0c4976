"""What Genie Sim says inside of an OK: its errors stand in a field of the reply, and init_robot's success does."""

from __future__ import annotations

from blueprint_proxy.upstreams.geniesim.methods import INIT_ROBOT, method
from blueprint_proxy.upstreams.geniesim.wire import NotProtobuf, fields

_ERRORS = (b"error", b"ERROR:")
LONGEST = 512
"""Bytes of an error's text that are passed on in metadata."""


def said(operation: str, message: bytes) -> bytes | None:
    """The text in which the reply to `operation` says how it went; None where it has none."""
    number = method(operation).says
    if number is None:
        return None
    try:
        found = dict(fields(message)).get(number)
    except NotProtobuf:
        return None
    return found if isinstance(found, bytes) else None


def app_error(operation: str, message: bytes) -> str | None:
    """The error in a reply whose status is OK: printable ASCII, for metadata; None where there is none."""
    text = said(operation, message)
    if text is None or not text.startswith(_ERRORS):
        return None
    shown = text[:LONGEST].decode("utf-8", "replace").encode("ascii", "backslashreplace").decode("ascii")
    return "".join(character if " " <= character <= "~" else " " for character in shown)


def initialised(operation: str, message: bytes) -> bool:
    """Whether this is init_robot's word that the robot is there."""
    return operation == INIT_ROBOT and said(operation, message) == b"success"
