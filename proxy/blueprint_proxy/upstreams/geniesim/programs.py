"""Runs an operator's program: as argv, without a shell, with a limit on its time and on what is kept of its words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import NamedTuple

KEPT = 4096
"""Bytes kept of what a program says, its last ones."""


class Ended(NamedTuple):
    """`code` is the exit code, negative for a signal; None: it ran past its limit and was killed, or never started."""

    code: int | None
    output: str


async def run(argv: tuple[str, ...], limit: float) -> Ended:
    """Run `argv` for at most `limit` seconds; both of its outputs are kept as one.

    What it leaves running in the background may keep its outputs open: only the program itself is waited for.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a signal to this proxy's group is not meant for it
        )
    except OSError as error:
        return Ended(None, f"{argv[0]}: {error.strerror}")
    output = bytearray()
    reading = asyncio.get_running_loop().create_task(_read(process.stdout, output))
    code: int | None = None
    try:
        async with asyncio.timeout(limit):
            code = await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.wait([reading], timeout=0.1 if code is not None else 0)
        reading.cancel()
        await asyncio.wait([reading])
    return Ended(code, output.decode("utf-8", "replace"))


async def _read(stream: asyncio.StreamReader | None, output: bytearray) -> None:
    while stream is not None and (piece := await stream.read(KEPT)):
        output += piece
        del output[:-KEPT]
