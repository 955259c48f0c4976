"""Field names: which ones belong to a connection, which ones this proxy reads, which ones pass.

A name is classified once and remembered by its exact bytes, because jobs send the same dozen names for ever; the memory is
bounded, since what a job sends must not fill it.
"""

from __future__ import annotations

from enum import IntEnum


class Field(IntEnum):
    """What a field is to this proxy. PASS is 0, so that the common case is one falsy lookup."""

    PASS = 0
    HOP = 1  # belongs to one connection: never passed on
    HOST = 2
    CONTENT_LENGTH = 3
    TRANSFER_ENCODING = 4
    CONNECTION = 5
    UPGRADE = 6
    EXPECT = 7
    VIA = 8
    OWN = 9  # x-blueprint-*: for this proxy only
    NOTED = 10  # passed on, and also read here
    REQUEST_ID = 11  # the job's goes up; the one that comes back is ours


_BY_NAME = {
    b"connection": Field.CONNECTION,
    b"content-length": Field.CONTENT_LENGTH,
    b"expect": Field.EXPECT,
    b"host": Field.HOST,
    b"http2-settings": Field.HOP,
    b"keep-alive": Field.HOP,
    b"proxy-authenticate": Field.HOP,
    b"proxy-authorization": Field.HOP,
    b"proxy-connection": Field.HOP,
    b"te": Field.HOP,
    b"transfer-encoding": Field.TRANSFER_ENCODING,
    b"upgrade": Field.UPGRADE,
    b"via": Field.VIA,
    b"grpc-timeout": Field.NOTED,
    b"idempotency-key": Field.NOTED,
    b"x-goog-api-client": Field.NOTED,
    b"x-request-id": Field.REQUEST_ID,
    b"x-server-timeout": Field.NOTED,
}
_REMEMBERED = 4096
_memory: dict[bytes, Field] = {}


def classify(name: bytes) -> Field:
    """What the field of this name (any case) is."""
    known = _memory.get(name)
    if known is None:
        lower = name.lower()
        known = _BY_NAME.get(lower, Field.OWN if lower.startswith(b"x-blueprint-") else Field.PASS)
        if len(_memory) < _REMEMBERED:
            _memory[name] = known
    return known


NOT_IN_TRAILERS = frozenset(
    {*_BY_NAME, b"authorization", b"content-encoding", b"content-range", b"content-type", b"trailer"}
)
"""Trailer fields that would change framing, routing or meaning after the fact (RFC 9110 §6.5.1): dropped."""
