"""Children of a test."""

from __future__ import annotations

import os
import signal
import time

PATIENCE = 20.0


def code_of(pid: int) -> int:
    """The exit code of a child, which is killed where it hangs."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"the child hung for {PATIENCE:g} s")
