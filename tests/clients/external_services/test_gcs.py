from __future__ import annotations

import sys
from types import ModuleType

import pytest

from blueprint_clients.external_services import create_gcs_client
from support.sidecar import ADDRESSES, UPSTREAMS, Said, ScriptedSidecar


@pytest.fixture
def anonymous(job: pytest.MonkeyPatch) -> type:
    """google.auth as far as it is used: the clients' tests need no SDK."""

    class AnonymousCredentials:
        pass

    module = ModuleType("google.auth.credentials")
    module.AnonymousCredentials = AnonymousCredentials  # type: ignore[attr-defined]
    job.setitem(sys.modules, "google.auth.credentials", module)
    return AnonymousCredentials


def test_the_sdk_is_pointed_at_the_sidecar_and_goes_through(scripted: ScriptedSidecar) -> None:
    client = create_gcs_client()
    assert client.client_options() == {"api_endpoint": "http://127.0.0.1:8900/gcs"}
    client.call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_credentials_are_anonymous_where_the_sidecar_has_its_own(scripted: ScriptedSidecar, anonymous: type) -> None:
    assert isinstance(create_gcs_client().credentials(), anonymous)


def test_credentials_are_the_jobs_own_where_the_sidecar_has_none(scripted: ScriptedSidecar) -> None:
    upstreams = {"gcs": {**UPSTREAMS["gcs"], "credential": False}}
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "upstreams": upstreams}))
    assert create_gcs_client().credentials() is None


@pytest.mark.parametrize("variable", ["STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"])
def test_a_job_that_is_pointed_at_the_sidecar_goes_through(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch, variable: str
) -> None:
    job.setenv(variable, "http://127.0.0.1:8900/gcs")
    create_gcs_client().call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_without_a_sidecar_the_sdk_stays_as_it_is() -> None:
    client = create_gcs_client()
    assert client.client_options() == {}
    assert client.credentials() is None
