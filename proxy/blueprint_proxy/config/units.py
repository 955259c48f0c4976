"""Durations and sizes as operators write them: `250ms` `5s` `2m` `1h`, `64MiB`."""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)", re.ASCII)
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
LONGEST = 366 * 24 * 3600.0
"""Seconds: a longer duration is a typing mistake, and timers of some platforms overflow on it."""

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$"


def parse_duration(value: object) -> float:
    """Seconds of `250ms`, `5s`, `2m`, `1h` or of a plain number of seconds; ValueError for anything else."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        seconds = math.nan if match is None else float(match[1]) * _MILLISECONDS[match[2]] / 1000
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        raise ValueError("must be a duration such as 250ms, 5s, 2m or 1h (or a number of seconds), at most 366 days")
    return seconds


def parse_size(value: object) -> int:
    """Bytes of `64MiB`, `1.5GiB`, `10kB` or of a plain whole number; ValueError for anything else."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is not None:
            return round(float(match[1]) * _BYTES[match[2]]) if "." in match[1] else int(match[1]) * _BYTES[match[2]]
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be a size such as 64MiB or 1GiB (or a whole number of bytes)")


def format_duration(seconds: float) -> str:
    """Return the shortest exact way to write a duration: 0.25 is `250ms`, 120.0 is `2m`, 90.0 is `90s`."""
    if seconds and seconds % 3600 == 0:
        return f"{seconds / 3600:.0f}h"
    if seconds and seconds % 60 == 0:
        return f"{seconds / 60:.0f}m"
    if seconds % 1 == 0:
        return f"{seconds:.0f}s"
    return f"{round(seconds * 1000, 6):.15g}ms"


def format_size(size: int) -> str:
    """Return the largest binary unit that writes a size exactly: 1048576 is `1MiB`, 1000 is `1000B`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"
