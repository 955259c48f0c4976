"""The clients' definitions on every protobuf runtime that a job may have, after the job's own stubs were imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import blueprint_clients
from support.sdk_venvs import run_script, version_of

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).parent / "scripts" / "protobuf_flows.py"
RUNTIMES = [f"protobuf-{version}" for version in ("3.20.3", "4.25.9", "5.28.0", "5.29.6", "6.33.6", "7.36.2")]
"""The newest of each major release, and the one that Genie Sim's own requirements pin."""

pytestmark = pytest.mark.timeout(700)  # the first test of each runtime may have to make its environment


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stubs as a job has them: generated code of the same names in the default pool."""
    into = tmp_path_factory.mktemp("stubs")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.compile_protos(f"--python_out={into}")
    return into


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_definitions_work_beside_the_jobs_own_stubs(runtime: str, stubs: Path) -> None:
    clients = Path(blueprint_clients.__file__).parents[1]
    seen = run_script(runtime, SCRIPT, {"clients": str(clients), "stubs": str(stubs)}, {})
    assert seen["version"] == version_of(runtime)
    assert seen["stubs"] == len(list((ROOT / "protos").rglob("*.proto")))
    assert seen["methods"] == 33
    assert seen["same_bytes"]
    assert seen["apart"]
    assert len(seen["every_message"]) == 66
