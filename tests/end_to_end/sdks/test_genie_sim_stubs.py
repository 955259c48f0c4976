"""Genie Sim's client on the oldest libraries that a job may have, beside the job's own stubs, which are unchanged."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import blueprint_clients
from support.genie_sim.process import simulators
from support.sdk_venvs import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.genie_sim.process import StartGenieSim
    from support.proxy import StartProxy

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).parent / "scripts" / "genie_sim_flows.py"
CLIENTS = Path(blueprint_clients.__file__).parents[1]
OLDEST = "grpcio-1.62.3"

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(700)]  # the first test may have to make the environment


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stubs as a job has them, services too."""
    into = tmp_path_factory.mktemp("stubs")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.compile_protos(f"--python_out={into}", f"--grpc_python_out={into}")
    return into


@pytest.fixture
def start_sim(tmp_path: Path) -> Iterator[StartGenieSim]:
    with simulators(tmp_path) as start:
        yield start


def test_stubs_and_typed_calls_work_in_one_process_and_after_a_fork(start_sim: StartGenieSim, stubs: Path) -> None:
    sim = start_sim(patched=True)
    host, _, port = sim.address.partition(":")
    arguments = {"clients": str(CLIENTS), "stubs": str(stubs), "target": sim.address}
    environment = {"BLUEPRINT_PROXY": "off", "GENIESIM_HOST": host, "GENIESIM_PORT": port}
    seen = run_script(OLDEST, SCRIPT, arguments, environment)
    assert (seen["grpcio"], seen["protobuf"]) == ("1.62.3", "3.20.3")
    assert seen["initialised"] == "success"
    assert seen["by_stub"] == 4.0
    assert seen["found"] == [1.5, 2.5]
    assert seen["app_error"].startswith("store_current_state: ERROR: ")
    assert seen["picture"] == 6_451_200
    assert (seen["child"], seen["after_fork"]) == (0, 46)
    assert seen["stats"]["unguarded_count"] == seen["stats"]["call_count"] == 9
    assert sim.state()["max_in_flight"] == 1


def test_the_same_job_unchanged_through_the_proxy(start_sim: StartGenieSim, proxy: StartProxy, stubs: Path) -> None:
    sim = start_sim(patched=True)
    running = proxy({"upstreams": {"geniesim": {"url": sim.url}}})
    listen = running.config["listen"]
    arguments = {"clients": str(CLIENTS), "stubs": str(stubs), "target": listen["grpc"]}
    environment = {"BLUEPRINT_PROXY": f"http://{listen['admin']}", "BLUEPRINT_RUN": "scene~job"}
    seen = run_script(OLDEST, SCRIPT, arguments, environment)
    assert (seen["initialised"], seen["by_stub"], seen["found"]) == ("success", 4.0, [1.5, 2.5])
    assert seen["app_error"].startswith("store_current_state: ERROR: ")
    assert seen["picture"] == 6_451_200
    assert (seen["child"], seen["after_fork"], seen["epoch"]) == (0, 46, 1)
    assert seen["stats"]["through_count"] == seen["stats"]["call_count"] == 9
    assert sim.state()["max_in_flight"] == 1
