"""W3C Trace Context: the trace that a job's call belongs to, joined and passed on (`traceparent`, level 2).

No spans are recorded here. Each attempt goes up under a parent id of its own, so that an upstream's spans can be told
apart by attempt; the trace id stands in this proxy's log lines and call log. `tracestate` passes as it came.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

HEADER = b"traceparent"

_KNOWN_FLAGS = 0x03
"""Sampled and random-trace-id. Bits that have no meaning yet must go on as zero (§3.3.2)."""
_FORM = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_NO_TRACE = b"0" * 32
_NO_PARENT = b"0" * 16


class Trace(NamedTuple):
    """The trace that a call belongs to: its id, 32 hexadecimal digits, and the flags that have a meaning."""

    id: str
    flags: int

    def traceparent(self) -> bytes:
        """Give a field's value for one attempt, with a new parent id."""
        parent = random.getrandbits(64) or 1  # an id: unique, not secret
        return f"00-{self.id}-{parent:016x}-{self.flags:02x}".encode("ascii")


def parse(value: bytes) -> Trace | None:
    """Read a traceparent; None for one that is invalid, which passes as it came.

    Of a version above 00, what stands where 00 has it counts, and may be followed by more (§3.2.4).
    """
    found = _FORM.fullmatch(value)
    if found is None or found["version"] == b"ff" or (found["version"] == b"00" and found["rest"] is not None):
        return None
    if found["trace"] == _NO_TRACE or found["parent"] == _NO_PARENT:
        return None
    return Trace(found["trace"].decode("ascii"), int(found["flags"], 16) & _KNOWN_FLAGS)
