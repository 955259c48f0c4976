"""The images as they are built: who they run as, what is in them, how they start and end."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

import blueprint_proxy
from support.containers import TAG, execute, healthy, podman, succeeds, wait_until_healthy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("images")]

SIDECAR = f"blueprint-proxy:{TAG}"
TOOLS = "import shutil, sys; sys.exit(any(map(shutil.which, ('gcc', 'cc', 'g++', 'make', 'ld', 'git'))))"


@pytest.fixture
def sidecar() -> Iterator[Callable[..., str]]:
    """Starts a sidecar's container as Docker starts one on a read-only root: nothing can be written but the state."""
    started: list[str] = []

    def start(*options: str) -> str:
        name = f"blueprint-test-{uuid.uuid4().hex[:8]}"
        started.append(name)
        hardened = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
        state = ["--tmpfs=/var/lib/blueprint-proxy:rw,mode=1777"]
        podman("run", "--detach", "--network=none", f"--name={name}", *hardened, *state, *options, SIDECAR)
        return name

    yield start
    for name in started:
        podman("rm", "--force", "--time=0", name)


def test_the_sidecar_becomes_healthy_on_a_read_only_root_with_nothing_but_its_state(sidecar):
    wait_until_healthy(sidecar())


def test_a_container_whose_sidecar_does_not_answer_is_not_healthy(sidecar):
    assert not healthy(sidecar('--entrypoint=["sleep", "infinity"]'))


def test_sigterm_to_process_number_1_ends_it_with_0(sidecar):
    name = sidecar()
    wait_until_healthy(name)
    podman("stop", "--time=30", name)
    (record,) = json.loads(podman("container", "inspect", name))
    assert record["State"]["ExitCode"] == 0


def test_the_state_is_under_var_lib_whatever_is_configured(sidecar):
    name = sidecar()
    wait_until_healthy(name)
    program = "from blueprint_proxy.config import load; print(load(None).state_dir.resolve())"
    assert execute(name, program).strip() == "/var/lib/blueprint-proxy"


@pytest.mark.parametrize("image", ["blueprint-proxy", "blueprint-proxy-demo"])
def test_an_image_holds_no_compiler(image):
    assert succeeds("run", "--rm", "--network=none", "--entrypoint=python", f"{image}:{TAG}", "-c", TOOLS)


@pytest.mark.parametrize("image", ["blueprint-proxy", "blueprint-proxy-demo", "blueprint-proxy-prometheus"])
def test_an_image_runs_as_a_user_without_a_name(image):
    (record,) = json.loads(podman("image", "inspect", f"{image}:{TAG}"))
    assert record["Config"]["User"] == "65532:65532"


def test_the_image_says_its_version():
    said = podman("run", "--rm", "--network=none", SIDECAR, "--version").strip()
    (record,) = json.loads(podman("image", "inspect", SIDECAR))
    assert said == record["Labels"]["org.opencontainers.image.version"] == blueprint_proxy.__version__


def test_the_jobs_image_imports_the_job_side_library():
    command = ["--entrypoint=python", f"blueprint-proxy-demo:{TAG}", "-c", "import blueprint_clients"]
    assert succeeds("run", "--rm", "--network=none", *command)


def test_promtool_accepts_the_configuration():
    said = podman(
        "run",
        "--rm",
        "--network=none",
        "--entrypoint=promtool",
        f"blueprint-proxy-prometheus:{TAG}",
        "check",
        "config",
        "/etc/prometheus/prometheus.yml",
    )
    assert "SUCCESS" in said
