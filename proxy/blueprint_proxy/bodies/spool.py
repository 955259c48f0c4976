"""A request body's overflow on disk: an unnamed file that is gone with the process.

Writing and reading run in a thread, because a page cache that has to write back stops whoever asks, and here that would
be every other call.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from collections.abc import Callable
    from pathlib import Path

BLOCK = 256 * 1024
"""Bytes read back at a time: one read of a uvloop transport."""

_disk = ThreadPoolExecutor(max_workers=2, thread_name_prefix="spool")


class Spool:
    """One body's bytes beyond memory. `written` and `size` differ by what is still on its way to the disk."""

    def __init__(self, directory: Path, on_error: Callable[[OSError, bytes], None]) -> None:
        """`on_error` gets what could not be written, which is then nowhere else; nothing when reading failed."""
        self._directory = directory
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._file: io.FileIO | None = None
        self._waiting: list[bytes] = []
        self._writing = False
        self._reading = 0
        self._closed = False
        self.size = 0
        self.written = 0
        self.on_written: Callable[[], None] | None = None

    @property
    def backlog(self) -> int:
        """Bytes accepted and not yet written."""
        return self.size - self.written

    def append(self, data: bytes) -> None:
        """Adds to the end; `written` grows when it is on disk."""
        self.size += len(data)
        self._waiting.append(data)
        if not self._writing:
            self._write_next()

    def read(self, offset: int, then: Callable[[bytes], None]) -> None:
        """Hands up to BLOCK bytes from `offset`, all of them already written, to `then`, later."""
        future = self._loop.run_in_executor(_disk, self._read, offset, min(BLOCK, self.written - offset))
        self._reading += 1

        def done(read: asyncio.Future[bytes]) -> None:
            self._reading -= 1
            error = read.exception()
            if self._closed:
                self.close()
            elif isinstance(error, OSError):
                self._on_error(error, b"")
            else:
                then(read.result())

        future.add_done_callback(done)

    def close(self) -> None:
        """Gives the disk space back, at the latest when the threads at it have come back. Calls nobody any more."""
        self._closed = True
        self._waiting = []
        if self._file is not None and not self._writing and not self._reading:
            self._file.close()

    def _write_next(self) -> None:
        if not self._waiting:
            return
        self._writing = True
        data = b"".join(self._waiting)
        self._waiting = []

        def done(write: asyncio.Future[None]) -> None:
            self._writing = False
            error = write.exception()
            if self._closed:
                self.close()
            elif isinstance(error, OSError):
                unwritten = b"".join([data, *self._waiting])
                self._waiting = []
                self.size = self.written
                self._on_error(error, unwritten)
            else:
                write.result()
                self.written += len(data)
                self._write_next()
                if self.on_written is not None:
                    self.on_written()

        self._loop.run_in_executor(_disk, self._write, self.written, data).add_done_callback(done)

    # In threads, a read and a write at the same time: each says where, for the file has only one position.

    def _write(self, offset: int, data: bytes) -> None:
        if self._file is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 -- closed by close()
        number, rest = self._file.fileno(), memoryview(data)
        while rest:
            count = os.pwrite(number, rest, offset)
            offset += count
            rest = rest[count:]

    def _read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file.fileno(), size, offset) if self._file is not None else b""
        if len(data) != size:
            raise OSError("the spool file is shorter than what was written to it")
        return data
