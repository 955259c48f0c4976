from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blueprint_clients.errors import ConfigurationError
from blueprint_clients.external_services import create_particulate_client

if TYPE_CHECKING:
    from support.sidecar import ScriptedSidecar


def test_the_endpoint_is_the_sidecars_and_functions_that_use_it_go_through(scripted: ScriptedSidecar) -> None:
    client = create_particulate_client()
    assert client.endpoint == "http://127.0.0.1:8900/particulate"
    client.call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_a_job_that_is_pointed_at_the_sidecar_goes_through(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("PARTICULATE_ENDPOINT", "http://localhost:8900/@run/particulate")
    create_particulate_client().call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_a_job_that_is_pointed_elsewhere_is_guarded(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("PARTICULATE_ENDPOINT", "https://particulate.example")
    create_particulate_client().call(lambda: 1)
    assert len(scripted.guard_traffic()) == 2


def test_without_a_sidecar_the_jobs_own_endpoint_stays(job: pytest.MonkeyPatch) -> None:
    job.setenv("PARTICULATE_ENDPOINT", "https://particulate.example")
    assert create_particulate_client().endpoint == "https://particulate.example"


def test_without_either_there_is_nothing_to_say() -> None:
    with pytest.raises(ConfigurationError, match="PARTICULATE_ENDPOINT"):
        _ = create_particulate_client().endpoint
