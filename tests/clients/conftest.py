"""Fixtures of the clients' tests: an environment of the test's own, and a sidecar that plays a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blueprint_clients import leases, notices, sidecar
from blueprint_clients.genie_sim import channels, lane
from support.rpc_sidecar import RpcSidecar
from support.sidecar import ADDRESSES, UPSTREAMS, Said, ScriptedSidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLES = (
    "BLUEPRINT_PROXY", "BLUEPRINT_PROXY_TOKEN", "BLUEPRINT_RUN", "JOB_NAME", "SCENE_ID", "BUCKET", "GEMINI_API_KEY",
    "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE",
    "PARTICULATE_ENDPOINT", "GENIESIM_HOST", "GENIESIM_PORT",
)  # fmt: skip


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A job without any variable, in a process that has said nothing and knows no sidecar."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BLUEPRINT_PROXY", "http://127.0.0.1:1")
    notices.forget()
    yield monkeypatch
    for known in sidecar._known.values():
        known.close()
    sidecar._known.clear()
    for line in channels._lines.values():
        line.close()
    channels._lines.clear()
    lane._lanes.clear()
    leases._held = None


@pytest.fixture
def scripted(job: pytest.MonkeyPatch) -> Iterator[ScriptedSidecar]:
    """The job's sidecar."""
    one = ScriptedSidecar()
    job.setenv("BLUEPRINT_PROXY", one.url)
    yield one
    for known in sidecar._known.values():
        known.close()
    one.stop()


@pytest.fixture
def scripted_unix(job: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedSidecar]:
    """The job's sidecar, on a unix socket."""
    one = ScriptedSidecar(unix=tmp_path / "admin.sock")
    job.setenv("BLUEPRINT_PROXY", one.url)
    yield one
    for known in sidecar._known.values():
        known.close()
    one.stop()


@pytest.fixture
def rpc() -> Iterator[RpcSidecar]:
    """A gRPC listener that says what the sidecar says, or a simulator that nobody guards."""
    one = RpcSidecar()
    yield one
    one.stop()


@pytest.fixture
def guarded_sim(scripted: ScriptedSidecar, rpc: RpcSidecar) -> RpcSidecar:
    """The job's sidecar serves a simulator at this listener."""
    simulator = {"kind": "geniesim", "url": "grpc://x", "credential": False, "served": True}
    served = {**ADDRESSES, "grpc": rpc.address, "upstreams": {**UPSTREAMS, "geniesim": simulator}}
    scripted.script("GET", "/v1/addresses", Said(200, served))
    return rpc


@pytest.fixture
def bare_sim(job: pytest.MonkeyPatch, rpc: RpcSidecar) -> RpcSidecar:
    """A simulator without a sidecar."""
    host, _, port = rpc.address.partition(":")
    job.setenv("GENIESIM_HOST", host)
    job.setenv("GENIESIM_PORT", port)
    return rpc
