from __future__ import annotations

import pytest

from blueprint_clients.errors import GenieSimAPIError
from blueprint_clients.external_services import create_genie_sim_client
from support.sidecar import ADDRESSES, Said, ScriptedSidecar

SERVED = {**ADDRESSES, "grpc": "127.0.0.1:50052"}


def test_the_target_is_the_sidecars(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, SERVED))
    assert create_genie_sim_client().target == "127.0.0.1:50052"


def test_a_sidecar_without_grpc_says_what_to_do(scripted: ScriptedSidecar) -> None:
    with pytest.raises(GenieSimAPIError, match="connect to the simulator itself"):
        _ = create_genie_sim_client().target


def test_without_a_sidecar_the_target_is_the_jobs_own(job: pytest.MonkeyPatch) -> None:
    assert create_genie_sim_client().target == "localhost:50051"
    job.setenv("GENIESIM_HOST", "sim")
    assert create_genie_sim_client().target == "sim:50051"


@pytest.mark.parametrize(("host", "permits"), [("localhost", 0), ("sim", 1)])
def test_a_job_that_is_pointed_at_the_sidecar_goes_through(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch, host: str, permits: int
) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, SERVED))
    job.setenv("GENIESIM_HOST", host)
    job.setenv("GENIESIM_PORT", "50052")
    create_genie_sim_client().call(lambda: 1)
    assert len(scripted.of("POST", "/v1/guard/geniesim")) == permits
