"""The call log: one JSON line for each call, on disk, for `logs` and for `what-if`.

Bounded in every direction: FILES files of FILE_SIZE bytes, BUFFER calls between two writes. A call costs an append to a
list; lines are made and written a second later, in a thread, so that neither a disk nor JSON is on a call's way. A line
holds what an event holds: names, words, numbers and ids, never a body, a target, a header or a secret's value.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from blueprint_proxy.telemetry.call_log_reading import call_files
from blueprint_proxy.telemetry.events import CallFinished, CallLogDropped, CallLogFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blueprint_proxy.telemetry.stream import Telemetry

FILES = 8
FILE_SIZE = 8 * 1024 * 1024
"""Bytes after which the next file is begun: 64 MiB in all, some 250,000 calls, days of one machine's."""
BUFFER = 2048
"""Calls kept between two writes, a second apart. More in a second are no job's, and would cost the calls."""
SAY_EVERY = 60.0
"""Seconds between two reports of dropped calls."""

_OUR_ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")
"""The ids that this proxy gives to requests, which hold nothing that a job chose."""

_Kept = tuple[float, CallFinished]


class CallLog:
    """Takes CallFinished events and writes them to `directory`. `redact` cleans the names that jobs can choose.

    A disk that is full, or anything else that keeps it from writing, is reported once until it works again; the calls
    of that time are dropped and counted.
    """

    def __init__(
        self,
        directory: Path,
        *,
        redact: Callable[[str], str] = str,
        wall: Callable[[], float] = time.time,
        files: int = FILES,
        file_size: int = FILE_SIZE,
        buffer: int = BUFFER,
    ) -> None:
        self._files = CallFiles(directory, files, file_size)
        self._redact = redact
        self._wall = wall
        self._most = buffer
        self._kept: list[_Kept] = []
        self._dropped = 0
        self._said_at = float("-inf")
        self._failing = False
        self._writing: asyncio.Future[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._telemetry: Telemetry | None = None

    def attach(self, telemetry: Telemetry) -> None:
        """Subscribe to every call's end."""
        self._telemetry = telemetry
        telemetry.subscribe(self.call_finished, [CallFinished])

    def call_finished(self, event: CallFinished) -> None:
        """Keep one call for the next write. The hot path."""
        if len(self._kept) < self._most:
            self._kept.append((self._wall(), event))
        else:
            self._dropped += 1

    def move(self, directory: Path) -> None:
        """Write to another directory from now on."""
        self._files.move(directory)

    def flush(self) -> None:
        """Write what is kept, in a thread; nothing where the last write is still under way. Once a second."""
        self._say_dropped()
        if self._kept and (self._writing is None or self._writing.done()):
            kept, self._kept = self._kept, []
            if self._thread is None:
                self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="call-log")
            self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, kept)
            self._writing.add_done_callback(lambda writing: self._written(writing, len(kept)))

    async def close(self) -> None:
        """Write what is left and end the thread."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self.flush()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        self._files.close()
        self._said_at = float("-inf")
        self._say_dropped()

    def _write(self, kept: list[_Kept]) -> None:
        names = _Names(self._redact)
        self._files.write("".join([_line(at, event, names) for at, event in kept]).encode("ascii"))

    def _written(self, writing: asyncio.Future[None], count: int) -> None:
        error = writing.exception()
        if error is None:
            self._failing = False
        elif isinstance(error, OSError):
            self._dropped += count
            if not self._failing and self._telemetry is not None:
                self._telemetry.emit(CallLogFailed(error.strerror or str(error)))
            self._failing = True
        else:
            raise error

    def _say_dropped(self) -> None:
        now = self._wall()
        if self._dropped and now - self._said_at >= SAY_EVERY and self._telemetry is not None:
            dropped, self._dropped, self._said_at = self._dropped, 0, now
            self._telemetry.emit(CallLogDropped(dropped))


class CallFiles:
    """The files of one directory, `calls-N.jsonl`, the highest N the one that is written. For one thread at a time."""

    def __init__(self, directory: Path, files: int = FILES, file_size: int = FILE_SIZE) -> None:
        self._directory = directory
        self._moved_to: Path | None = None
        self._most = files
        self._file_size = file_size
        self._number = 0
        self._file: int | None = None

    def move(self, directory: Path) -> None:
        """Write to another directory from the next write on."""
        self._moved_to = directory if directory != self._directory else None

    def write(self, lines: bytes) -> None:
        """Append whole lines, or nothing: OSError when the disk does not take them."""
        if self._moved_to is not None:
            self.close()
            self._directory, self._moved_to = self._moved_to, None
        file = self._file if self._file is not None else self._open()
        before = os.fstat(file).st_size
        if before and before + len(lines) > self._file_size:
            self.close()
            self._number += 1
            file, before = self._open(), 0
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError:
            os.ftruncate(file, before)
            raise

    def close(self) -> None:
        """Give the file back; a later write opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = call_files(self._directory)
        self._number = max([self._number, *(number for number, _ in found)])
        for number, path in found:
            if number <= self._number - self._most:
                path.unlink(missing_ok=True)
        path = self._directory / f"calls-{self._number}.jsonl"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._file = file
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # a process died in the middle of a line
            os.write(file, b"\n")
        return file


class _Names(dict[str, str]):
    """Names as JSON has them, without credentials that a job may have put there: looked through once for each batch."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def __missing__(self, name: str) -> str:
        made = self[name] = json.dumps(self._redact(name))
        return made


def _line(at: float, event: CallFinished, names: _Names) -> str:
    """One call as a line. `at` is when it ended, in the line it is when it began, both in seconds since 1970.

    Of the rest, what is None, false, zero or empty is left out. By hand, at a quarter of json's cost.
    """
    ours = _OUR_ID.fullmatch(event.request_id)
    request_id = f'"{event.request_id}"' if ours is not None else names[event.request_id]
    line = (
        f'{{"at":{at - event.duration:.6f},"upstream":{names[event.upstream]},"operation":{names[event.operation]},'
        f'"outcome":"{event.outcome}","status":{event.status},"attempts":{event.attempts},'
        f'"duration":{event.duration:.6f},"bytes_in":{event.bytes_in},"bytes_out":{event.bytes_out},'
        f'"source":"{event.source}","request_id":{request_id}'
    )
    if event.reason is not None:
        line += f',"reason":"{event.reason}"'
    if event.repeatable:
        line += ',"repeatable":true'
    if event.queued:
        line += f',"queued":{event.queued:.6f}'
    if event.deadline is not None:
        line += f',"deadline":{event.deadline:.6f}'
    if event.run is not None:
        line += f',"run":{names[event.run]}'
    if event.trace is not None:
        line += f',"trace":"{event.trace}"'
    if event.tries:
        line += f',"tries":{json.dumps([_tried(one._asdict()) for one in event.tries])}'
    return line + "}\n"


def _tried(one: dict[str, object]) -> dict[str, object]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in one.items()}
