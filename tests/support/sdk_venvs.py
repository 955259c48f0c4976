"""One virtual environment for each SDK release the proxy promises to serve, made when a test first asks for it.

An environment lives under `.cache/sdks/NAME-VERSION` of the repository and holds exactly what the lock file of that
name pins, checked by hash. Its stamp is the digest of the lock and of the interpreter's version, written last: an
environment that was interrupted, or whose lock has changed, is made anew; any other is used as it is, without network.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = REPOSITORY / "tests" / "end_to_end" / "sdks" / "locks"
ENVIRONMENTS = REPOSITORY / ".cache" / "sdks"

INSTALL_LIMIT_S = 600
"""Far above a cold install, which took under 10 s here: it only ends an installer that hangs."""

SCRIPT_LIMIT_S = 90
"""Under pytest's own limit of 120 s, so that a script that hangs is reported with what it printed."""


class SdkEnvironmentError(Exception):
    """An SDK's environment could not be made: says which one, what the installer said and what to do."""


class SdkScriptError(Exception):
    """A script that ran in an SDK's environment failed: carries its whole output."""


def version_of(sdk: str) -> str:
    """`2.18.2` of `google-cloud-storage-2.18.2`."""
    return sdk.rpartition("-")[2]


def sdk_python(sdk: str) -> Path:
    """The interpreter of this SDK's environment, which is made first where it is missing or out of date.

    Safe to call from several processes at once. Raises SdkEnvironmentError without a lock, an installer or an index.
    """
    lock = LOCKS / f"{sdk}.txt"
    if not lock.is_file():
        raise SdkEnvironmentError(f"{sdk} has no lock file at {lock}")
    environment = ENVIRONMENTS / sdk
    stamp = environment / "stamp"
    wanted = hashlib.sha256(lock.read_bytes() + platform.python_version().encode()).hexdigest()
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{sdk}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(environment, ignore_errors=True)
            _install(sdk, lock, environment)
            stamp.write_text(wanted)
    return environment / "bin" / "python"


def run_script(sdk: str, script: Path, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a script in the SDK's environment and return the JSON object that it prints as its last line.

    The script gets `arguments` as JSON in its only argument, and `environment` with nothing of the test run's own
    variables, so that neither a key nor a proxy setting of the developer can change what is tested.
    Raises SdkScriptError when it fails, hangs or prints no JSON.
    """
    command = [str(sdk_python(sdk)), "-I", "-W", "ignore", str(script), json.dumps(dict(arguments))]
    done = _finished(sdk, script, command, {"PATH": "/usr/bin:/bin", **environment})
    output = f"{done.stdout}\n{done.stderr}"
    if done.returncode != 0:
        raise SdkScriptError(f"{script.name} with {sdk} ended with {done.returncode}:\n{output}")
    lines = done.stdout.strip().splitlines()
    try:
        printed = json.loads(lines[-1] if lines else "")
    except ValueError as error:
        raise SdkScriptError(f"{script.name} with {sdk} printed no JSON at its end:\n{output}") from error
    if not isinstance(printed, dict):
        raise SdkScriptError(f"{script.name} with {sdk} printed something else than a JSON object:\n{output}")
    return printed


def _finished(
    sdk: str, script: Path, command: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=SCRIPT_LIMIT_S)
        except subprocess.TimeoutExpired as hung:
            process.kill()
            stdout, stderr = process.communicate()
            said = f"{stdout}\n{stderr}"
            raise SdkScriptError(f"{script.name} with {sdk} hung for {SCRIPT_LIMIT_S} s:\n{said}") from hung
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _install(sdk: str, lock: Path, environment: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        raise SdkEnvironmentError(f"{sdk}: no uv beside {sys.executable}: run `make setup`")
    _uv(sdk, [uv, "venv", "--quiet", "--python", sys.executable, environment])
    python = environment / "bin" / "python"
    _uv(sdk, [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "--requirement", lock])


def _uv(sdk: str, command: list[str | Path]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_LIMIT_S)
    except subprocess.TimeoutExpired as late:
        raise SdkEnvironmentError(f"{sdk}: the installer took more than {INSTALL_LIMIT_S} s") from late
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise SdkEnvironmentError(
            f"{sdk}: its environment could not be made under {ENVIRONMENTS}. It is downloaded once from the package "
            f"index and then kept: is this machine offline? The installer said:\n{said}"
        )
