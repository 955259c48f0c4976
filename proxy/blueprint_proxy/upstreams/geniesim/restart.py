"""Starts a hung simulator again, in the one way that the operator configured."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

from blueprint_proxy.upstreams.geniesim.programs import Ended, run

if TYPE_CHECKING:
    from blueprint_proxy.config import RestartSettings

LIMIT = 120.0
"""Seconds for a restart command: twice what stopping a container and starting it again may take."""


class Hook:
    """The configured way. `words` says what it does, for operators."""

    def __init__(self, settings: RestartSettings) -> None:
        self._settings = settings
        container = settings.container
        engine = next((name for name in ("docker", "podman") if shutil.which(name)), "docker")
        self._argv = settings.command or (None if container is None else (engine, "restart", container))
        self.words = " ".join(self._argv) if self._argv else f"{settings.signal} to its process group"

    async def run(self, pid: int | None) -> Ended:
        """Do it; `pid` is the simulator's process, where that is known."""
        if self._argv is not None:
            return await run(self._argv, LIMIT)
        return _signal(signal.Signals[self._settings.signal or "SIGKILL"], pid)


def _signal(number: signal.Signals, pid: int | None) -> Ended:
    if pid is None:
        return Ended(None, "the simulator's process is not known: configure identity.pid_file, or a restart command")
    try:
        group = os.getpgid(pid)
        if group == os.getpgrp():  # started by the same shell as this proxy: the group is not the simulator's
            os.kill(pid, number)
            return Ended(0, f"{number.name} sent to process {pid}")
        os.killpg(group, number)
    except OSError as error:
        return Ended(None, f"{number.name} to process {pid}: {error.strerror}")
    return Ended(0, f"{number.name} sent to process group {group}")
