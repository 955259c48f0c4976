"""The settings that the factories give out, taken by the SDKs they are for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_proxy.demo.gemini import GeminiStandIn, answer_text
from blueprint_proxy.demo.hosting import threaded
from support.sdk_venvs import run_script
from support.strict_gcs import StrictGcs

if TYPE_CHECKING:
    from support.proxy import RunningProxy, StartProxy

SCRIPT = Path(__file__).parent / "scripts" / "settings.py"
CLIENTS = Path(__file__).resolve().parents[3] / "clients"
KEY = "the-key-that-no-job-may-see"
GENAI = ["google-genai-1.0.0", "google-genai-2.33.0", "google-genai-3.4.0"]
GCS = ["google-cloud-storage-2.18.2", "google-cloud-storage-3.17.1"]

pytestmark = pytest.mark.timeout(700)  # the first test of each release may have to make its environment


def run_settings(sdk: str, running: RunningProxy, what: str, token: str | None = None) -> dict[str, Any]:
    environment = {
        "BLUEPRINT_PROXY": f"http://{running.config['listen']['admin']}",
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
    }
    if token is not None:
        environment["BLUEPRINT_PROXY_TOKEN"] = token
    results = run_script(sdk, SCRIPT, {"clients": str(CLIENTS), "sdk": what}, environment)
    assert KEY not in str(results)
    return results


@pytest.mark.parametrize("sdk", GENAI)
def test_google_genai_goes_through_with_the_jobs_token_and_a_dummy_key(sdk: str, proxy: StartProxy) -> None:
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True)) as gemini:
        upstream = {"kind": "gemini", "url": gemini.url, "credential": {"env": "GEMINI_API_KEY"}}
        secrets = {"GEMINI_API_KEY": KEY, "BLUEPRINT_PROXY_TOKEN": "of-the-job"}
        running = proxy({"upstreams": {"gemini": upstream}}, secrets)
        results = run_settings(sdk, running, "genai", "of-the-job")
        assert [exchange.refused for exchange in gemini.exchanges] == [False]
    assert results["result"] == answer_text("prompt")
    assert results["stats"]["through_count"] == 1


@pytest.mark.parametrize("sdk", GENAI)
def test_a_refusal_that_google_genai_raises_is_the_clients_own_error(sdk: str, proxy: StartProxy) -> None:
    upstream = {"kind": "gemini", "url": "http://127.0.0.1:1", "credential": "none", "retry": {"attempts": 1}}
    running = proxy({"upstreams": {"gemini": upstream}})
    with_key = {"BLUEPRINT_PROXY": f"http://{running.config['listen']['admin']}", "GEMINI_API_KEY": "own"}
    results = run_script(sdk, SCRIPT, {"clients": str(CLIENTS), "sdk": "genai"}, with_key)
    assert results["error"] == ["UpstreamUnreachable", "upstream_unreachable", "gemini", True]


@pytest.mark.parametrize("sdk", GCS)
def test_google_cloud_storage_goes_through_without_credentials_of_its_own(sdk: str, proxy: StartProxy) -> None:
    with StrictGcs(token=KEY, only_through_proxy=True) as gcs:
        gcs.store.create_bucket("scenes-7", {})
        credential = {"env": "STORAGE_TOKEN", "header": "authorization: Bearer {}"}
        upstream = {"kind": "gcs", "url": gcs.url, "credential": credential}
        running = proxy({"upstreams": {"gcs": upstream}}, {"STORAGE_TOKEN": KEY})
        results = run_settings(sdk, running, "gcs")
    assert results["result"] == "{}"
    assert results["stats"]["through_count"] == 1
