"""The real proxy as a child process: started on free ports, watched, and stopped with SIGTERM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol

import yaml

from support.raw_client import RawClient

START_LIMIT = 20.0
"""Seconds until the listeners must be up. The product promises 1 s on an idle machine; a CI machine is not idle."""
STOP_LIMIT = 20.0
TROUBLE = ("Traceback", "ResourceWarning", "never retrieved", "never awaited", "inside the proxy")


_GIVEN: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that this test run has not been given before: the kernel gives one twice."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


class RunningProxy:
    """`blueprint-proxy serve` with the configuration given; `listen`, `state_dir` and `drain` are filled in.

    `http` and `admin` are addresses for RawClient: (host, port), or the path of a unix socket.
    """

    def __init__(self, directory: Path, config: dict[str, Any], env: dict[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.expected_exit = 0
        self._read_so_far = 0
        self._clients: list[RawClient] = []
        self.config = {
            "state_dir": str(directory / "state"),
            "drain": {"grace": "5s"},
            **config,
            "listen": {
                "http": f"127.0.0.1:{free_port()}",
                "grpc": f"127.0.0.1:{free_port()}",
                "admin": f"127.0.0.1:{free_port()}",
                **config.get("listen", {}),
            },
        }
        self.http = _address(self.config["listen"]["http"])
        self.admin = _address(self.config["listen"]["admin"])
        self.config_file = directory / "config.yaml"
        self.config_file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        self._log_file = directory / "proxy.log"
        environment = {
            "PATH": os.environ["PATH"],  # noqa: TID251 -- the child needs the test run's PATH, and nothing else of it
            "HOME": str(directory),
            "PYTHONWARNINGS": "default::ResourceWarning",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        command = [sys.executable, "-m", "blueprint_proxy.cli", "serve", "--config", str(self.config_file)]
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=directory
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def authority(self) -> str:
        """The authority of the HTTP listener, as a job writes it in Host."""
        return str(self.config["listen"]["http"])

    def client(self, *, receive_buffer: int | None = None) -> RawClient:
        """A connection to the HTTP listener, closed at the latest when the proxy has stopped."""
        client = RawClient(self.http, receive_buffer=receive_buffer)
        self._clients.append(client)
        return client

    def log_events(self) -> list[dict[str, Any]]:
        """The log lines that are JSON objects."""
        found = []
        for line in self.log.splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    found.append(record)
        return found

    def get_admin(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET at the admin listener."""
        assert isinstance(self.admin, tuple)
        connection = HTTPConnection(*self.admin, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def rss(self) -> int:
        """Resident memory in bytes, now."""
        return self._status("VmRSS")

    def peak_rss(self) -> int:
        """The most resident memory in bytes since forget_peak()."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {key} of process {self.pid}")

    def write_config(self, config: dict[str, Any], *, signal_too: bool = True) -> None:
        """Replaces the file as an editor does, and says so with SIGHUP; `listen` and the like stay."""
        self.write_config_text(yaml.safe_dump({**self.config, **config}, sort_keys=False), signal_too=signal_too)

    def write_config_text(self, text: str, *, signal_too: bool = True) -> None:
        fresh = self.config_file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.config_file)
        if signal_too:
            self.signal(signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, limit: float = STOP_LIMIT) -> int:
        """The exit code, when it ends."""
        return self.process.wait(limit)

    def stop(self) -> None:
        """SIGTERM; it must exit 0 and have printed no traceback."""
        if self.alive:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the proxy ignores SIGTERM; its log ends:\n{self.log[-4000:]}") from None
        for client in self._clients:
            client.close()
        assert code == self.expected_exit, f"exit code {code}; the log ends:\n{self.log[-4000:]}"
        self.assert_quiet()

    def assert_quiet(self) -> None:
        """No traceback, leak or lost error in the log since the last time this was asked."""
        fresh = self.log[self._read_so_far :]
        self._read_so_far += len(fresh)
        trouble = [line for line in fresh.splitlines() if any(word in line for word in TROUBLE)]
        assert not trouble, "\n".join(trouble).replace("\\n", "\n")

    def kill(self) -> None:
        if self.alive:
            self.process.kill()
            self.process.wait()
        for client in self._clients:
            client.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while True:
            assert self.alive, f"exit code {self.process.returncode} at start:\n{self.log[-4000:]}"
            try:
                with socket.socket(socket.AF_UNIX if isinstance(self.http, str) else socket.AF_INET) as probe:
                    probe.connect(self.http)
                if isinstance(self.admin, str) or self.get_admin("/readyz")[0] == 200:
                    return
            except OSError:
                pass  # not listening yet
            assert time.monotonic() < deadline, f"not ready in {START_LIMIT:g} s:\n{self.log[-4000:]}"
            time.sleep(0.02)


class StartProxy(Protocol):
    """What the fixture `proxy` gives: RunningProxy(config, env), stopped and checked at the test's end."""

    def __call__(self, config: dict[str, Any], env: dict[str, str] | None = None) -> RunningProxy: ...


def _address(listen: str) -> tuple[str, int] | str:
    if listen.startswith("unix:"):
        return listen.removeprefix("unix:")
    host, _, port = listen.rpartition(":")
    return host, int(port)
