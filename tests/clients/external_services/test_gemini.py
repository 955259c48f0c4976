from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.external_services import create_gemini_client
from support.sidecar import ADDRESSES, UPSTREAMS, Said, ScriptedSidecar

if TYPE_CHECKING:
    import pytest


def test_google_genai_is_pointed_at_the_sidecar_with_a_dummy_key(scripted: ScriptedSidecar) -> None:
    assert create_gemini_client().client_options() == {
        "api_key": "kept-by-blueprint-proxy",
        "http_options": {"base_url": "http://127.0.0.1:8900/gemini"},
    }


def test_the_run_and_the_token_go_along(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_RUN", "abc")
    job.setenv("BLUEPRINT_PROXY_TOKEN", "t")
    assert create_gemini_client().http_options() == {
        "base_url": "http://127.0.0.1:8900/@abc/gemini",
        "headers": {"x-blueprint-token": "t"},
    }


def test_the_jobs_own_key_stays_where_the_sidecar_has_none(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    upstreams = {"gemini": {**UPSTREAMS["gemini"], "credential": False}}
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "upstreams": upstreams}))
    job.setenv("GEMINI_API_KEY", "own")
    assert create_gemini_client().client_options()["api_key"] == "own"


def test_a_client_that_has_given_its_settings_out_goes_through(scripted: ScriptedSidecar) -> None:
    client = create_gemini_client()
    client.http_options()
    client.call(lambda: 1)
    client.call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_a_job_that_is_pointed_at_the_sidecar_goes_through(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:8900/gemini")
    client = create_gemini_client()
    client.call(lambda: 1)
    client.call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_a_job_whose_sdk_nobody_has_pointed_is_guarded(scripted: ScriptedSidecar) -> None:
    create_gemini_client().call(lambda: 1)
    assert len(scripted.guard_traffic()) == 2


def test_without_a_sidecar_the_sdk_goes_to_google_with_the_jobs_key(job: pytest.MonkeyPatch) -> None:
    assert create_gemini_client().client_options() == {}
    job.setenv("GOOGLE_API_KEY", "own")
    assert create_gemini_client().client_options() == {"api_key": "own"}
