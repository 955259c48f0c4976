"""Runs an operator's program: as argv, without a shell, with a limit on its time and on what is kept of its words.

Started by the standard library and not by the event loop: uvloop forks, and in the child the gRPC library's fork
handlers then crash now and then (measured: 13 of 300 children ended by SIGSEGV or SIGABRT before their program began).
The standard library uses vfork, where no handler runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import IO

KEPT = 4096
"""Bytes kept of what a program says, its last ones."""


class Ended(NamedTuple):
    """`code` is the exit code, negative for a signal; None: it ran past its limit and was killed, or never started."""

    code: int | None
    output: str


async def run(argv: tuple[str, ...], limit: float) -> Ended:
    """Run `argv` for at most `limit` seconds; both of its outputs are kept as one.

    They go to a file without a name: what it leaves running in the background may write on, and is not waited for.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.to_thread(_start, argv, output)
        except OSError as error:
            return Ended(None, f"{argv[0]}: {error.strerror}")
        code: int | None = None
        try:
            async with asyncio.timeout(limit):
                await _end_of(process.pid)
                code = process.wait()
        except TimeoutError:
            pass
        finally:
            if code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - KEPT))
        return Ended(code, output.read().decode("utf-8", "replace"))


def _start(argv: tuple[str, ...], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 -- the operator's own program, from the configuration
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a signal to this proxy's group is not meant for it
    )


async def _end_of(pid: int) -> None:
    """Return when this child has ended."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    pidfd = os.pidfd_open(pid)
    loop.add_reader(pidfd, partial(_set, over))
    try:
        await over
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
