"""Waits that a gRPC upstream asks for: grpc-retry-pushback-ms, and RetryInfo in grpc-status-details-bin.

Nothing here raises: the bytes come from the network. Results are in seconds, at most hints.LONGEST.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blueprint_proxy.policies.hints import LARGEST_BODY, LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = -1.0
"""The pushback that forbids every repeat."""

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_RETRY_INFO = b"google.rpc.RetryInfo"


def pushback(value: str | bytes) -> float:
    """Seconds of a grpc-retry-pushback-ms; NEVER for a negative one and for what is no number (gRPC's proposal A6)."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return min(int(text) / 1000.0, LONGEST) if _WHOLE.fullmatch(text) else NEVER


def retry_info(details: bytes) -> float | None:
    """The longest wait of the RetryInfo messages in a serialised google.rpc.Status; None where there is none."""
    if len(details) > LARGEST_BODY or _RETRY_INFO not in details:
        return None
    longest: float | None = None
    try:
        for number, detail in _fields(details):
            if number == 3 and isinstance(detail, bytes):
                wait = _wait(detail)
                if wait is not None and (longest is None or wait > longest):
                    longest = wait
    except ValueError:
        return longest
    return longest


def _wait(detail: bytes) -> float | None:
    """Of a google.protobuf.Any: the retry_delay of the RetryInfo in it."""
    url, value = b"", b""
    for number, field in _fields(detail):
        if number == 1 and isinstance(field, bytes):
            url = field
        elif number == 2 and isinstance(field, bytes):
            value = field
    if url.rpartition(b"/")[2] != _RETRY_INFO:
        return None
    for number, field in _fields(value):
        if number == 1 and isinstance(field, bytes):
            return _duration(field)
    return None


def _duration(message: bytes) -> float:
    seconds = nanos = 0
    for number, field in _fields(message):
        if isinstance(field, int):
            signed = field - (1 << 64) if field >= 1 << 63 else field
            if number == 1:
                seconds = signed
            elif number == 2:
                nanos = signed
    return min(max(seconds + nanos / 1e9, 0.0), LONGEST)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and raw values of a protobuf message's fields; ValueError where it is none."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if wire == 2:
                size, at = _varint(message, at)
            if size is None or at + size > len(message):
                raise ValueError("not a protobuf message")
            value, at = message[at : at + size], at + size
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("not a protobuf message")
