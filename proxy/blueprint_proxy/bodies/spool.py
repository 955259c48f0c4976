"""A request body's overflow on disk: an unnamed file that is gone with the process.

Writing and reading run in a thread, because a page cache that has to write back stops whoever asks, and here that would be
every other call.
"""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BLOCK = 256 * 1024
"""Bytes read back at a time: one read of a uvloop transport."""

_disk = ThreadPoolExecutor(max_workers=2, thread_name_prefix="spool")


class Spool:
    """One body's bytes beyond memory. `written` and `size` differ by what is still on its way to the disk."""

    def __init__(self, directory: Path, on_error: Callable[[OSError, bytes], None]) -> None:
        """`on_error` gets what could not be written, which is then nowhere else; nothing when it was reading that failed."""
        self._directory = directory
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._file: BinaryIO | None = None
        self._waiting: list[bytes] = []
        self._writing = False
        self._closed = False
        self.size = 0
        self.written = 0
        self.on_written: Callable[[], None] | None = None

    @property
    def backlog(self) -> int:
        """Bytes accepted and not yet written."""
        return self.size - self.written

    def append(self, data: bytes) -> None:
        self.size += len(data)
        self._waiting.append(data)
        if not self._writing:
            self._write_next()

    def read(self, offset: int, then: Callable[[bytes], None]) -> None:
        """Hands up to BLOCK bytes from `offset`, all of them already written, to `then`, later."""
        future = self._loop.run_in_executor(_disk, self._read, offset, min(BLOCK, self.written - offset))

        def done(read: asyncio.Future[bytes]) -> None:
            error = read.exception()
            if self._closed:
                return
            if isinstance(error, OSError):
                self._on_error(error, b"")
            else:
                then(read.result())

        future.add_done_callback(done)

    def close(self) -> None:
        self._closed = True
        self._waiting = []
        if self._file is not None and not self._writing:
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

        self._loop.run_in_executor(_disk, self._write, data).add_done_callback(done)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 -- closed by close()
        self._file.seek(0, 2)
        self._file.write(data)
        self._file.flush()

    def _read(self, offset: int, size: int) -> bytes:
        if self._file is None:
            raise OSError("the spool file is gone")
        self._file.seek(offset)
        return self._file.read(size)
