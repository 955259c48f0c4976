import asyncio
import signal
import time
from pathlib import Path

import pytest

from blueprint_proxy.upstreams.geniesim.programs import KEPT, Ended, run


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("/bin/sh", "-c", "echo yes; echo no >&2"), Ended(0, "yes\nno\n")),
        (("/bin/sh", "-c", "exit 3"), Ended(3, "")),
        (("/bin/sh", "-c", "kill -9 $$"), Ended(-signal.SIGKILL, "")),
        (("/no/such/program",), Ended(None, "/no/such/program: No such file or directory")),
        (("/bin/sh", "-c", "sleep 60 & echo started"), Ended(0, "started\n")),
    ],
)
def test_a_programs_end_and_its_words_are_known(argv, expected):
    assert asyncio.run(run(argv, 30.0)) == expected


def test_only_the_end_of_a_long_output_is_kept():
    ended = asyncio.run(run(("/bin/sh", "-c", "yes | head -c 100000; echo end"), 30.0))
    assert len(ended.output) == KEPT
    assert ended.output.endswith("end\n")


def test_a_program_that_does_not_end_is_killed_with_what_it_started(tmp_path):
    file = tmp_path / "pid"
    ended = asyncio.run(run(("/bin/sh", "-c", f"sleep 600 & echo $! > {file}; wait"), 0.3))
    assert ended.code is None
    child = int(file.read_text())
    until = time.monotonic() + 20.0
    while Path(f"/proc/{child}").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < until


def test_a_cancelled_run_kills_its_program():
    async def cancelled():
        task = asyncio.get_running_loop().create_task(run(("/bin/sleep", "600"), 600.0))
        await asyncio.wait([task], timeout=0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
