"""The moment by which a job wants its answer, and the headers that carry it. Times are monotonic seconds."""

from __future__ import annotations

from math import ceil

LONGEST_WAIT = 600.0
"""Seconds that a call without a deadline waits on a hint: past a quota's minute, well short of its day."""

_GRPC_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_GRPC_LARGEST = 99_999_999  # eight digits


def earliest(*candidates: float | None) -> float | None:
    """Pick the smallest deadline; None where nobody set one."""
    first: float | None = None
    for candidate in candidates:
        if candidate is not None and (first is None or candidate < first):
            first = candidate
    return first


def left(deadline: float | None, now: float) -> float | None:
    """Seconds until the deadline, 0 when it is past, None when there is none."""
    if deadline is None:
        return None
    return deadline - now if deadline > now else 0.0


def patience(deadline: float | None, now: float) -> float:
    """Seconds that a call may wait for an upstream that asks for time: what is left, or LONGEST_WAIT."""
    return LONGEST_WAIT if deadline is None else max(deadline - now, 0.0)


def timeout_ms(value: bytes) -> float:
    """Read x-blueprint-timeout-ms, one to ten digits, into seconds. Anything else is a ValueError."""
    if not (value.isdigit() and len(value) <= 10):
        raise ValueError("x-blueprint-timeout-ms must be a whole number of milliseconds, at most ten digits")
    return int(value) / 1000.0


def grpc_timeout(value: bytes) -> float:
    """Read grpc-timeout, one to eight digits and one of H M S m u n, into seconds. Anything else is a ValueError."""
    digits, unit = value[:-1], _GRPC_UNITS.get(value[-1:])
    if unit is None or not (digits.isdigit() and len(digits) <= 8):
        raise ValueError("grpc-timeout must be one to eight digits and a unit of H, M, S, m, u or n")
    return int(digits) * unit


def server_timeout(value: bytes) -> float:
    """Read X-Server-Timeout, seconds with or without a fraction. Anything else is a ValueError."""
    whole, point, fraction = value.partition(b".")
    if not (whole.isdigit() and len(value) <= 20 and (fraction.isdigit() or not point)):
        raise ValueError("X-Server-Timeout must be a number of seconds")
    return float(value)


def format_grpc_timeout(seconds: float) -> bytes:
    """Write a grpc-timeout: the finest of m, S, M and H that fits eight digits, rounded up, at least 1."""
    for unit in (b"m", b"S", b"M"):
        amount = seconds / _GRPC_UNITS[unit]
        if amount <= _GRPC_LARGEST:
            return b"%d%b" % (max(1, ceil(amount)), unit)
    return b"%dH" % ceil(min(_GRPC_LARGEST, seconds / 3600.0))


def format_server_timeout(seconds: float) -> bytes:
    """Write an X-Server-Timeout: whole seconds, rounded up, at least 1."""
    return b"%d" % max(1, ceil(seconds))
