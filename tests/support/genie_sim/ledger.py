"""What the stand-in saw and did, in a file that outlives its process: the counts that tests assert."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def digest(payload: bytes) -> str:
    """A request's bytes, short enough for a log and long enough to tell any two apart."""
    return hashlib.sha256(payload).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a request.

    - `event`: `arrived` (a worker took it up), `executed` (the loop began to run it), `answered` (its caller's handler
      returned), `misdelivered` (that handler had taken another's result), `wrong_type` (and could not even read it).
    - `life`: the simulator's process, counted from 1. `arrival`: the request, counted from 1 in each life.
    - `method`: for `executed` that of the command, which is another's where two callers met in the slot.
    """

    event: str
    life: int
    arrival: int
    method: str
    payload: str


class Ledger:
    """Counts of this life, and the file of all lives."""

    def __init__(self, path: Path | None, life: int) -> None:
        self.life = life
        self.counts: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()
        self._requests: dict[int, tuple[str, str]] = {}
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if path else None

    def arrived(self, method: str, payload: bytes) -> int:
        """The new request's number."""
        with self._lock:
            arrival = len(self._requests) + 1
            self._requests[arrival] = (method, digest(payload))
        self.note("arrived", arrival)
        return arrival

    def note(self, event: str, arrival: int, method: str | None = None) -> None:
        """Write it down, whole and at once: the next thing may be SIGKILL."""
        own, payload = self._requests[arrival]
        entry = Entry(event, self.life, arrival, method or own, payload)
        with self._lock:
            self.counts.setdefault(event, Counter())[entry.method] += 1
            if self._file is not None:
                os.write(self._file, f"{json.dumps([getattr(entry, name) for name in Entry.__slots__])}\n".encode())

    def as_json(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {event: dict(counts) for event, counts in self.counts.items()}


def entries(path: Path) -> list[Entry]:
    """Everything in the file, of all lives."""
    if not path.is_file():
        return []
    found: list[Any] = [json.loads(line) for line in path.read_text().splitlines()]
    return [Entry(*fields) for fields in found]
