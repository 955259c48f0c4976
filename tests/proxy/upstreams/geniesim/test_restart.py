import asyncio
import os
import signal
import subprocess

import pytest

from blueprint_proxy.config import RestartSettings
from blueprint_proxy.upstreams.geniesim.restart import Hook


def hook(command=None, signal_=None, container=None):
    return Hook(RestartSettings(command, signal_, container, 60.0, 6))


def test_a_command_is_run():
    made = hook(command=("/bin/echo", "done"))
    assert made.words == "/bin/echo done"
    assert asyncio.run(made.run(None)) == (0, "done\n")


def test_a_signal_goes_to_the_process_group():
    process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    code, output = asyncio.run(hook(signal_="SIGKILL").run(process.pid))
    assert (code, output) == (0, f"SIGKILL sent to process group {process.pid}")
    assert process.wait() == -signal.SIGKILL


def test_a_signal_to_our_own_process_group_goes_to_the_one_process():
    process = subprocess.Popen(["/bin/sleep", "600"])
    assert os.getpgid(process.pid) == os.getpgrp()
    assert asyncio.run(hook(signal_="SIGTERM").run(process.pid)).code == 0
    assert process.wait() == -signal.SIGTERM


@pytest.mark.parametrize("pid", [None, 999_999_999])
def test_a_signal_to_nobody_fails(pid):
    assert asyncio.run(hook(signal_="SIGKILL").run(pid)).code is None


def test_a_container_is_restarted_by_its_engine():
    assert hook(container="sim").words.endswith(" restart sim")
