"""What the benchmark needs beside the repository's own .venv: Debian packages, Envoy in a venv under .cache/bench."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
VENV = CACHE / "venv"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
DEBIAN_PACKAGES = ("nginx", "haproxy", "wrk")  # each installs a program of its own name
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\nexit 101\n"  # 101: invoke-rc.d may not start anything
INSTALL_LIMIT_S = 300


def program(name: str) -> str:
    """Return the absolute path of a program of Debian's; BenchError when it is not installed."""
    found = shutil.which(name, path=PROGRAM_PATH)
    if found is None:
        raise BenchError(f"{name} is not installed and only root can install it (apt-get install {name})")
    return found


def install() -> None:
    """Install what is missing. Packages that cannot be had are left out: their stacks then say so."""
    missing = [name for name in DEBIAN_PACKAGES if shutil.which(name, path=PROGRAM_PATH) is None]
    if missing and os.geteuid() == 0:
        _install_packages(missing)
    _install_envoy()


def _install_packages(names: Sequence[str]) -> None:
    # Debian starts a server when its package is unpacked, unless policy-rc.d says no.
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        _run("apt-get", "update", "-q")
        _run("apt-get", "install", "-q", "-y", "--no-install-recommends", *names)
    finally:
        if ours:
            POLICY.unlink()


def _install_envoy() -> None:
    stamp = VENV / "requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    _run(sys.executable, "-m", "uv", "venv", "--clear", str(VENV))
    python = str(VENV / "bin" / "python")
    _run(sys.executable, "-m", "uv", "pip", "install", "--python", python, "--require-hashes", "-r", str(REQUIREMENTS))
    stamp.write_text(wanted)


def _run(*command: str) -> None:
    result = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_LIMIT_S
    )
    if result.returncode != 0:
        sys.stderr.write(f"bench: {' '.join(command)} failed:\n{result.stdout[-2000:]}\n")


def envoy_binary() -> Path:
    """Return the path of the Envoy binary inside its wheel; BenchError when it is not there."""
    for found in VENV.glob("lib/python3*/site-packages/envoy/_bin/envoy"):
        return found
    raise BenchError(f"Envoy is not in {VENV}: its wheel could not be installed")
