"""What a job beside the proxy is given: the settings that `blueprint-proxy env` prints, and nothing else."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.proxy import RunningProxy

ENV_LIMIT_S = 30
"""A command that only reads a file and prints: anything near this is a hang."""


class JobEnvironment(Protocol):
    def __call__(self, proxy: RunningProxy) -> dict[str, str]: ...


@pytest.fixture
def job_environment(tmp_path: Path) -> JobEnvironment:
    """The exports of `blueprint-proxy env`, read as a shell would read them, and a home of the job's own."""

    def exports(proxy: RunningProxy) -> dict[str, str]:
        command = [sys.executable, "-m", "blueprint_proxy.cli", "env", "--config", str(proxy.config_file)]
        done = subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=ENV_LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        found = {"HOME": str(tmp_path)}
        for line in done.stdout.splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            assert words[0] == "export", f"not an export: {line}"
            for word in words[1:]:
                name, equals, value = word.partition("=")
                assert equals, f"an export without a value: {line}"
                found[name] = value
        return found

    return exports
