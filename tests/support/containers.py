"""Real images and containers with podman: built once for a test run, run from docker-compose.yml, removed at its end.

What podman 4 cannot do is done here: it has no `condition: service_healthy`, so the services are started in turn; and
on a machine without systemd nobody runs a health check but whoever asks for it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
TAG = "test"
IMAGES = {
    "blueprint-proxy": (".", "--target=proxy"),
    "blueprint-proxy-demo": (".", "--target=demo"),
    "blueprint-proxy-prometheus": ("deploy/prometheus",),
}
STARTS_WITHIN = 60.0
ENDS_WITHIN = 180.0
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_OURS = {**os.environ, "DISABLE_HC_SYSTEMD": "true"}  # noqa: TID251 - what a child process starts from


def missing() -> str | None:
    """What this machine lacks for real containers; None where nothing."""
    if shutil.which("podman") is None:
        return "there is no podman here"
    if not succeeds("image", "exists", BASE):
        return f"the base image is not here: podman pull {BASE}"
    return None


def run(*command: str, environment: dict[str, str] | None = None, limit: float = ENDS_WITHIN) -> str:
    """What a command that must succeed wrote to its standard output."""
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**_OURS, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=limit,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def podman(*words: str, limit: float = ENDS_WITHIN) -> str:
    """The output of a podman command that must succeed."""
    return run("podman", *words, limit=limit)


def succeeds(*words: str) -> bool:
    """Whether a podman command ends with 0."""
    done = subprocess.run(["podman", *words], env=_OURS, capture_output=True, check=False, timeout=ENDS_WITHIN)
    return done.returncode == 0


def build_images() -> None:
    """Build all images. The build shares this machine's network and, where it has one of its own, its CA bundle.

    In Docker's format, because podman's own has no place for a HEALTHCHECK. No layer is kept but the images themselves.
    """
    bundle = _OURS.get("SSL_CERT_FILE")
    trust = [f"--volume={bundle}:{_CA_BUNDLE}:ro"] if bundle else []
    how = ["--format=docker", "--layers=false", "--isolation=chroot", "--network=host", *trust]
    for name, (context, *options) in IMAGES.items():
        podman("build", "--quiet", *how, *options, f"--tag={name}:{TAG}", context, limit=900)


def remove_images() -> None:
    """Remove what `build_images` made."""
    podman("rmi", "--force", *(f"{name}:{TAG}" for name in IMAGES))


def logs(container: str) -> str:
    """What a container wrote, standard error included."""
    done = subprocess.run(
        ["podman", "logs", container],
        env=_OURS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=ENDS_WITHIN,
    )
    return done.stdout


def healthy(container: str) -> bool:
    """Run the container's own health check now."""
    return succeeds("healthcheck", "run", container)


def wait_until_healthy(*containers: str) -> None:
    """Run the health checks until each has passed."""
    give_up = time.monotonic() + STARTS_WITHIN
    for container in containers:
        while not healthy(container):
            assert time.monotonic() < give_up, f"{container} is not healthy:\n{logs(container)[-4000:]}"
            time.sleep(0.2)


def execute(container: str, program: str, *arguments: str) -> str:
    """The output of a Python program in a running container."""
    return podman("exec", container, "python", "-c", program, *arguments)


class Composition:
    """docker-compose.yml under a name of its own, through podman-compose.

    `key_file` holds the key of the Gemini stand-in, `port` is Prometheus's on this machine.
    """

    def __init__(self, name: str, key_file: Path, port: int) -> None:
        self.name = name
        self._environment = {
            "BLUEPRINT_PROXY_TAG": TAG,
            "GEMINI_API_KEY_FILE": str(key_file),
            "PROMETHEUS_PORT": str(port),
        }

    def compose(self, *words: str) -> str:
        """The output of a podman-compose command that must succeed."""
        command = [sys.executable, "-m", "podman_compose", "--project-name", self.name, *words]
        return run(*command, environment=self._environment)

    def up(self, *services: str) -> None:
        """Start services from the images as they are, and nothing that they depend on."""
        self.compose("up", "--detach", "--no-build", "--no-deps", *services)

    def down(self) -> None:
        """Remove the containers, the volumes and the network."""
        self.compose("down", "--volumes")

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.name}_{service}_1"

    def logs(self, service: str) -> str:
        """What a service wrote, standard error included."""
        return logs(self.container(service))

    def state(self, service: str) -> dict[str, Any]:
        """The engine's record of a service's container: Running, ExitCode and more."""
        found: list[dict[str, Any]] = json.loads(podman("container", "inspect", self.container(service)))
        return dict(found[0]["State"])
