"""As much of protobuf's wire format as telling calls apart needs: which top-level fields a message has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_VARINT_BYTES = 10


class NotProtobuf(ValueError):
    """The bytes end in the middle of a field, or have a tag that no field has."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The top-level fields, in order: (number, value). NotProtobuf where the bytes stop making sense.

    A varint's value is an int, that of every other type its bytes as they stand. Groups, which no schema since proto2
    has, are not protobuf here.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise NotProtobuf("a field has the number 0")
        if wire_type == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _varint(message, at)
        elif wire_type in {1, 5}:
            length = 8 if wire_type == 1 else 4
        else:
            raise NotProtobuf(f"field {number} has the wire type {wire_type}")
        if at + length > len(message):
            raise NotProtobuf(f"field {number} is cut short")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(at, min(at + _MOST_VARINT_BYTES, len(message))):
        byte = message[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise NotProtobuf("a number is cut short")
