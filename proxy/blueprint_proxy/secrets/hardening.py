"""What keeps a process's memory, and the keys in it, out of files and away from other processes."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def harden() -> tuple[str, ...]:
    """Leave no core file when the process crashes, and let no other process of this user read its memory.

    Returns what could not be done, as sentences: the process runs on all the same. Also true for its children, but for
    the second part, which ends with exec.
    """
    failed: list[str] = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        failed.append(f"core files cannot be turned off, so a crash may write the process's memory to disk: {error}")
    try:
        _forbid_dumping()
    except (OSError, AttributeError) as error:
        failed.append(
            "the process cannot be made undumpable, so other processes of this user can read its memory: "
            f"{error if isinstance(error, OSError) else 'this system has no prctl'}"
        )
    return tuple(failed)


def _forbid_dumping() -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
