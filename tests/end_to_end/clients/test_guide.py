"""What the guide tells jobs to write, with the SDK that they have, against the sidecar's process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_proxy.demo import gemini as gemini_module
from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.gemini import GeminiStandIn, answer_text
from blueprint_proxy.demo.hosting import threaded
from support.sdk_venvs import run_script
from support.wire import reply

if TYPE_CHECKING:
    from support.proxy import RunningProxy, StartProxy
    from support.raw_upstream import RawUpstream, StartUpstream

SDK = "google-generativeai-0.3.2"
SCRIPT = Path(__file__).parent / "scripts" / "guide.py"
CLIENTS = Path(__file__).resolve().parents[3] / "clients"
KEY = "the-key-that-no-job-may-see"
PROMPT = "How heavy is a wooden crate of one cubic metre?"
SAID = {"mesh_base64": "Z2xURg==", "placeholder": False}

pytestmark = pytest.mark.timeout(700)  # the first test may have to make the SDK's environment


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's model is older than the stand-in's."""
    monkeypatch.setattr(gemini_module, "MODELS", (*gemini_module.MODELS, "gemini-1.5-pro"))


@pytest.fixture
def particulate(upstream: StartUpstream) -> RawUpstream:
    one = upstream()
    one.answer(reply(200, json.dumps(SAID).encode(), ("Content-Type", "application/json")))
    return one


def started(proxy: StartProxy, gemini: GeminiStandIn, particulate: RawUpstream) -> RunningProxy:
    upstreams = {
        "gemini": {
            "kind": "gemini",
            "url": gemini.url,
            "credential": {"env": "GEMINI_API_KEY"},
            "retry": {"attempts": 3, "base": "1ms", "cap": "5ms"},
        },
        "particulate": {"kind": "particulate", "url": particulate.url},
    }
    return proxy({"upstreams": upstreams}, {"GEMINI_API_KEY": KEY})


def run_the_guide(running: RunningProxy, environment: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    said = {"clients": str(CLIENTS), "prompt": PROMPT, "endpoint": None, "configure": None, "estimates": 1, **arguments}
    address = f"http://{running.config['listen']['admin']}"
    results = run_script(SDK, SCRIPT, said, {"BLUEPRINT_PROXY": address, **(environment or {})})
    assert KEY not in str(results)
    assert KEY not in running.log
    assert results["said"] == SAID
    assert results["texts"] == [answer_text(PROMPT)] * said["estimates"]
    return results


def assert_gemini_came_through(gemini: GeminiStandIn, requests: int) -> None:
    assert len(gemini.exchanges) == requests
    for exchange in gemini.exchanges:
        assert not exchange.refused
        assert exchange.request.header("via")
        assert exchange.request.header("x-goog-api-key") == KEY
        assert not exchange.request.header("x-blueprint-timeout-ms")


def test_both_sections_go_through_the_proxy_when_the_endpoint_is_the_clients(
    proxy: StartProxy, particulate: RawUpstream
) -> None:
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True)) as gemini:
        running = started(proxy, gemini, particulate)
        results = run_the_guide(running)
        assert_gemini_came_through(gemini, 1)
    (request,) = particulate.requests
    assert request.value("via")
    assert results["source"] == "upstream"
    assert results["gemini"]["through_count"] == results["stats"]["through_count"] == 1


def test_particulate_goes_through_the_guard_when_the_endpoint_is_its_own(
    proxy: StartProxy, particulate: RawUpstream
) -> None:
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True)) as gemini:
        running = started(proxy, gemini, particulate)
        results = run_the_guide(running, endpoint=particulate.url)
    (request,) = particulate.requests
    assert not request.value("via")
    assert results["stats"]["guarded_count"] == results["stats"]["success_count"] == 1
    _, metrics = running.get_admin("/metrics")
    assert 'blueprint_proxy_calls_total{operation="call",outcome="ok",upstream="particulate"} 1.0' in metrics.decode()


def test_particulate_is_not_guarded_on_top_when_the_jobs_variable_leads_to_the_proxy(
    proxy: StartProxy, particulate: RawUpstream
) -> None:
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True)) as gemini:
        running = started(proxy, gemini, particulate)
        endpoint = f"http://{running.authority}/particulate"
        results = run_the_guide(running, {"PARTICULATE_ENDPOINT": endpoint}, endpoint=endpoint)
    assert particulate.requests[0].value("via")
    assert results["stats"]["through_count"] == 1


def test_a_job_that_configures_its_sdk_with_its_own_key_is_brought_back(
    proxy: StartProxy, particulate: RawUpstream
) -> None:
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True)) as gemini:
        running = started(proxy, gemini, particulate)
        run_the_guide(running, configure="a-key-of-the-jobs-own", estimates=3)
        assert_gemini_came_through(gemini, 3)


def test_a_failure_is_repeated_by_the_proxy_and_not_by_the_sdk(proxy: StartProxy, particulate: RawUpstream) -> None:
    faults = [Fault("status", on="POST *:generateContent?*"), Fault("status", on="POST *:generateContent?*")]
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True, faults=faults)) as gemini:
        running = started(proxy, gemini, particulate)
        results = run_the_guide(running)
        assert_gemini_came_through(gemini, 3)
    assert results["gemini"]["attempt_count"] == 1
