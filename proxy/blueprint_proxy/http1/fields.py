"""Field lines: which belong to a connection, which this proxy reads, which pass.

Nearly all lines of a head pass as they are, so they stay what they were: raw lines. Only those that somebody asks for
are taken apart.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOP_BY_HOP = frozenset(
    {
        b"connection", b"http2-settings", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
"""Fields that belong to one connection (RFC 9110 §7.6.1), with those that only ever spoke to a proxy."""

NOTED = frozenset(
    {
        b"grpc-timeout", b"idempotency-key", b"traceparent", b"x-goog-api-client", b"x-request-id",
        b"x-server-timeout",
    }
)  # fmt: skip
"""Fields of a request that pass on and are read here too."""

NOT_IN_TRAILERS = HOP_BY_HOP | frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"content-range", b"content-type", b"expect", b"host",
        b"trailer", b"via",
    }
)  # fmt: skip
"""Trailer fields that would change framing, routing or meaning after the fact (RFC 9110 §6.5.1): dropped."""

OWN = b"x-blueprint-"
"""What the names of the fields between a job and this proxy begin with. They go neither up nor down."""

_SPLIT = re.compile(rb"([^:\r\n]++):[ \t]*+([^\r\n]*+)\r\n")
_LINES = re.compile(rb"(([^:\r\n]++):[^\r\n]*+\r\n)")


class Fields:
    """End-to-end fields of one message, in their order, with their case, duplicates and bytes.

    `raw` is their lines, each with its CRLF. Iterating gives (name, value) pairs, the white space around a value
    dropped.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = raw

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Fields:
        return cls(b"".join([b"%b: %b\r\n" % pair for pair in pairs]))

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for name, value in _SPLIT.findall(self.raw):
            yield name, value.rstrip(b" \t")

    def __repr__(self) -> str:
        """Names only: a value may be a credential."""
        return f"Fields({b', '.join(name for name, _ in self).decode('latin-1')})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field of this lower-case name."""
        return next((value for found, value in self if found.lower() == name), None)

    def plus(self, *pairs: tuple[bytes, bytes]) -> Fields:
        return Fields(self.raw + b"".join([b"%b: %b\r\n" % pair for pair in pairs]))

    def without(self, names: frozenset[bytes]) -> Fields:
        """Without the fields of these lower-case names; the other lines stay byte for byte."""
        return Fields(b"".join([line for line, name in _LINES.findall(self.raw) if name.lower() not in names]))

    def trailing(self, named: frozenset[bytes]) -> Fields:
        """Those that may go on as trailers. `named` are the lower-case names that the message's Connection named."""
        kept = self.without(NOT_IN_TRAILERS | named)
        return Fields(b"".join([line for line, name in _LINES.findall(kept.raw) if not name.lower().startswith(OWN)]))
