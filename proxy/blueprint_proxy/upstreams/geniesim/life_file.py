"""The simulator's life as a file of the state directory: a sidecar that starts again is still in the same epoch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from blueprint_proxy.policies.simulator import Life

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class LifeFile:
    """Whole or not at all: a new file takes the place of the old one. `problem` is why it could not be written."""

    def __init__(self, directory: Path, upstream: str) -> None:
        self._file = directory / f"geniesim-{upstream}.json"
        self._busy_file = directory / f"geniesim-{upstream}.busy"
        self._busy = False
        self._written: Life | None = None
        self.problem: str | None = None

    def read(self) -> Life | None:
        """None where there is none, or none that can be read: then this is the first epoch that anybody knows of."""
        try:
            found: Any = json.loads(self._file.read_text(encoding="utf-8"))
            identity, epoch, initialised = found["identity"], found["epoch"], found["initialised"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if isinstance(identity, str | None) and isinstance(epoch, int) and epoch > 0:
            self._written = Life(identity, epoch, initialised if isinstance(initialised, bool) else None)
        return self._written

    def busy_until(self) -> float:
        """Until when, in seconds since 1970, a call may be in the slot that a killed sidecar left there; 0.0: none."""
        try:
            return float(self._busy_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0.0

    def busy(self, until: float | None) -> None:
        """Note a call that may be there for long, or (None) that there is none."""
        if until is None and not self._busy:
            return
        try:
            if until is None:
                self._busy_file.unlink(missing_ok=True)
            else:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._busy_file.write_text(f"{until:.3f}", encoding="ascii")
        except OSError as error:
            self.problem = f"{self._busy_file}: {error.strerror}"
        self._busy = until is not None

    def write(self, life: Life) -> None:
        """Take the place of what is there, where it differs. A kill of this process loses nothing of it."""
        if life == self._written:
            return
        fresh = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text(json.dumps(life._asdict()), encoding="utf-8")
            fresh.replace(self._file)
        except OSError as error:
            self.problem = f"{self._file}: {error.strerror}"
            return
        self.problem = None
        self._written = life
