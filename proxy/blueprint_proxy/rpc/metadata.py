"""Metadata of a gRPC call, and which of its keys pass a proxy."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from blueprint_proxy.http1.fields import HOP_BY_HOP, Fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Pair = tuple[str, str | bytes]
"""A key in lower case and its value: bytes where the key ends in -bin, else printable ASCII."""

OWN = "x-blueprint-"
"""What the keys between a job and this proxy begin with. They go neither up nor down."""

PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"
PUSHBACK = "grpc-retry-pushback-ms"
STATUS_DETAILS = "grpc-status-details-bin"

_OF_ONE_HOP = frozenset(name.decode("ascii") for name in HOP_BY_HOP) | {
    "content-length", "content-type", "grpc-accept-encoding", "grpc-encoding", "grpc-internal-encoding-request",
    "grpc-message", "grpc-status", "grpc-timeout", "host", "trailer", "user-agent",
}  # fmt: skip
"""What the library of each hop sets by itself. `user-agent` is one of them: it cannot be set by call."""

_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")


class Metadata(Fields):
    """Pairs in their order, with several values of one key. As Fields their values are bytes."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:  # not the lines of its parent: they are made when asked for
        self.pairs = tuple(pairs)

    @property
    def raw(self) -> bytes:  # type: ignore[override]
        """As lines of HTTP, binary values in base64."""
        return b"".join(
            b"%b: %b\r\n" % (name, base64.b64encode(value) if name.endswith(b"-bin") else value) for name, value in self
        )

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self.pairs:
            yield key.encode("ascii"), value if isinstance(value, bytes) else value.encode("latin-1")

    def plus(self, *pairs: tuple[bytes, bytes]) -> Metadata:
        """With these too. A value under a -bin key stays bytes."""
        return Metadata((*self.pairs, *(_pair(name, value) for name, value in pairs)))

    def without(self, names: frozenset[bytes]) -> Metadata:
        """Without the pairs of these lower-case keys."""
        return Metadata(pair for pair in self.pairs if pair[0].encode("ascii") not in names)

    def values(self, key: str) -> list[str | bytes]:
        """Every value of one key, in order."""
        return [value for found, value in self.pairs if found == key]


def _pair(name: bytes, value: bytes) -> Pair:
    key = name.decode("ascii").lower()
    return key, value if key.endswith("-bin") else value.decode("latin-1")


def passing(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Those that go on, in either direction: end to end, not ours, and such that a library can send them."""
    return tuple((key, value) for key, value in pairs if key not in _OF_ONE_HOP and _fits(key, value))


def _fits(key: str, value: str | bytes) -> bool:
    """Whether it may be sent: one bad value makes the library refuse the whole call."""
    if key.startswith(OWN) or _KEY.fullmatch(key) is None:
        return False
    return (
        isinstance(value, bytes) if key.endswith("-bin") else isinstance(value, str) and bool(_VALUE.fullmatch(value))
    )
