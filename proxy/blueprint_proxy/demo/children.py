"""The demo's other processes. Each lives for the length of a block and is ended on every way out of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from blueprint_proxy.demo.faults import Fault, fault_to_json
from blueprint_proxy.demo.stand_in import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

READY_WITHIN = 20.0  # seconds, generous for a cold disk
ENDS_WITHIN = 10.0  # seconds after SIGTERM, then SIGKILL
JOB_WITHIN = 120.0  # seconds; the demo's job takes a few
_PYTHON = (sys.executable, "-m")
_PROXY = (*_PYTHON, "blueprint_proxy.cli")


class ChildFailedError(RuntimeError):
    """A process did not start, or ended when it should not; the text says which and what it said."""


@contextlib.contextmanager
def stand_in(module: str, faults: Sequence[Fault], key: str, log: Path) -> Iterator[str]:
    """Run a stand-in of this package that serves only what comes through a proxy; gives its url."""
    settings = {"key": key, "faults": [fault_to_json(fault) for fault in faults], "only_through_proxy": True}
    command = [*_PYTHON, f"blueprint_proxy.demo.{module}", "--held-by-stdin"]
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, process_group=0
        )
    with _ended(process):
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - asked for above
        with contextlib.suppress(BrokenPipeError):  # it died at once; the missing url below says so
            process.stdin.write(json.dumps(settings) + "\n")
            process.stdin.flush()
        url = process.stdout.readline().strip()
        if not url:
            raise ChildFailedError(f"the {module} stand-in did not start: {log.read_text()[-2000:]}")
        yield url


@contextlib.contextmanager
def proxy(config: Path, admin: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run the proxy, with `environment` added to this one's; the block begins when it answers /readyz."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*_PROXY, "serve", "--config", str(config)],
            env={**_own_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    with _ended(process):
        give_up = time.monotonic() + READY_WITHIN
        while not _is_ready(admin):
            if process.poll() is not None or time.monotonic() > give_up:
                raise ChildFailedError(f"the proxy did not become ready: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield


@contextlib.contextmanager
def job(place: Path, environment: Mapping[str, str], errors: Path) -> Iterator[Iterator[str]]:
    """Run the scene job with `environment` and nothing else; gives its lines of output as they come.

    It is killed after JOB_WITHIN seconds. When its lines have ended, so has it.
    """
    with errors.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*_PYTHON, "blueprint_proxy.demo.job", str(place)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            process_group=0,
        )
    limit = threading.Timer(JOB_WITHIN, process.kill)
    limit.start()
    try:
        with _ended(process):
            assert process.stdout is not None  # noqa: S101 - asked for above
            yield _lines_until_exit(process)
    finally:
        limit.cancel()


def job_environment(config: Path, home: Path) -> dict[str, str]:
    """Make the whole environment of the job: what `blueprint-proxy env` prints, a PATH and an empty HOME."""
    told = subprocess.run(  # noqa: S603 - our own module, no shell
        [*_PROXY, "env", "--config", str(config)],
        env=_own_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_WITHIN,
    )
    if told.returncode != 0:
        raise ChildFailedError(f"blueprint-proxy env failed: {told.stderr[-2000:]}")
    exports = [shlex.split(line) for line in told.stdout.splitlines() if line.startswith("export ")]
    pairs = (word.partition("=") for _, *words in exports for word in words)
    settings = {name: value for name, _, value in pairs}
    return {"PATH": _own_environment().get("PATH", ""), "HOME": str(home), **settings}


def report(url: str) -> dict[str, Any]:
    """Ask a stand-in what happened (StandIn.report)."""
    found = json.loads(_fetch(url, REPORT)[1])
    assert isinstance(found, dict)  # noqa: S101 - our own stand-in wrote it
    return found


def free_ports(count: int) -> list[int]:
    """Find loopback ports that nobody listens on, all different."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


def _own_environment() -> dict[str, str]:
    """Copy this process's environment, without what would turn the proxy away from the demo's own configuration."""
    mine = os.environ  # noqa: TID251 - handed on to children; no setting is read from it
    return {name: value for name, value in mine.items() if not name.startswith(("BLUEPRINT_", "GOOGLE_", "GEMINI_"))}


def _is_ready(admin: str) -> bool:
    try:
        return _fetch(f"http://{admin}", "/readyz")[0] == 200
    except OSError:
        return False


def _fetch(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


def _lines_until_exit(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 - asked for by job()
    yield from process.stdout
    if process.wait() < 0:
        raise ChildFailedError(f"the job was killed by signal {-process.returncode}")


@contextlib.contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
