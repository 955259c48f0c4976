"""Genie Sim's message classes by name: `definitions.SE3RpyPose(position={"x": 1.0})`.

They are made when first asked for, from the same set as messages.load(); definitions.pyi, which protos/generate.py
writes, tells type checkers what they hold. Any class asked for raises GrpcExtraMissing where protobuf is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.genie_sim.messages import load

if TYPE_CHECKING:
    from google.protobuf.message import Message


def __getattr__(name: str) -> type[Message]:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return load().type_of(name)
    except KeyError:
        raise AttributeError(f"aimdk.protocol has no message {name!r} here") from None
