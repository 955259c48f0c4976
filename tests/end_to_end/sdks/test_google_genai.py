"""google-genai as it comes from the index, at three ages, through the proxy and nowhere else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.gemini import GeminiStandIn, answer_text
from blueprint_proxy.demo.hosting import threaded
from support.sdk_venvs import run_script, version_of

if TYPE_CHECKING:
    from end_to_end.sdks.conftest import JobEnvironment
    from support.proxy import StartProxy

SCRIPT = Path(__file__).parent / "scripts" / "genai_flows.py"
SDKS = ["google-genai-1.0.0", "google-genai-2.33.0", "google-genai-3.4.0"]
KEY = "the-key-that-no-job-may-see"
PROMPT = "Which way does a heavy crate fall when the robot lets go of it?"
CONTENT = bytes(range(256)) * (9 * 4096)
"""9 MiB: more than one of the SDK's chunks, which are 8 MiB."""

WITHOUT_VARIABLES = {"1.0.0"}
"""Releases that read neither GOOGLE_GEMINI_BASE_URL nor GEMINI_API_KEY: told by the constructor, as documented."""

PATIENT = {
    "retry": {"attempts": 3, "base": "1ms", "cap": "5ms"},
    "retry_budget": {"ratio": 1.0, "min": 100},
    "breaker": {"min_calls": 10_000, "consecutive": 10_000},
}
"""Half of all attempts fail in one of these tests, which a breaker is right to mind."""

REPEATABLE = [
    "POST *:generateContent",
    "POST *:streamGenerateContent*",
    "POST /upload/*/files",
    "GET */files/*",
    "DELETE */files/*",
]
"""All but an upload's chunks: a lost answer leaves open how much of one was stored."""

pytestmark = [
    pytest.mark.timeout(700),  # the first test of each release may have to make its environment
    pytest.mark.parametrize("sdk", SDKS),
]


def through_the_proxy(
    sdk: str, gemini: GeminiStandIn, proxy: StartProxy, job_environment: JobEnvironment, directory: Path
) -> dict[str, Any]:
    """Run the flows and return what the job saw."""
    credential = {"env": "GEMINI_API_KEY"}
    upstream = {"kind": "gemini", "url": gemini.url, "credential": credential, **PATIENT}
    running = proxy({"upstreams": {"gemini": upstream}}, {"GEMINI_API_KEY": KEY})
    environment = job_environment(running)
    assert KEY not in str(environment)
    told = version_of(sdk) in WITHOUT_VARIABLES
    source = directory / "scene.glb"
    source.write_bytes(CONTENT)
    arguments = {
        "base_url": environment["GOOGLE_GEMINI_BASE_URL"] if told else None,
        "key": environment["GEMINI_API_KEY"] if told else None,
        "model": "gemini-2.5-flash",
        "prompt": PROMPT,
        "file": str(source),
    }
    results = run_script(sdk, SCRIPT, arguments, environment)
    assert KEY not in str(results)
    assert KEY not in running.log
    assert environment["GEMINI_API_KEY"] not in str(gemini.exchanges), "the job's dummy key went upstream"
    return results


def assert_right(results: dict[str, Any], gemini: GeminiStandIn, sdk: str) -> None:
    assert results["version"] == version_of(sdk)
    assert results["text"] == answer_text(PROMPT)
    assert results["finish_reason"] == "FinishReason.STOP"
    assert len(results["pieces"]) > 1
    assert "".join(results["pieces"]) == answer_text(PROMPT)
    digest = base64.b64encode(hashlib.sha256(CONTENT).hexdigest().encode()).decode()
    name = results["uploaded"]["name"]
    assert results["uploaded"] == {"name": name, "size": len(CONTENT), "sha256": digest}
    assert results["found"]["name"] == name
    assert results["found"]["uri"].startswith(gemini.url), "a file's uri is an identifier, used inside prompts"


def assert_nothing_went_around(gemini: GeminiStandIn) -> None:
    assert [exchange for exchange in gemini.exchanges if exchange.refused] == []
    for exchange in gemini.exchanges:
        assert exchange.request.header("via")
        if "upload_id=" not in exchange.request.target:  # an upload's address is its own credential
            assert exchange.request.header("x-goog-api-key") == KEY


def test_every_flow_of_an_unmodified_sdk_goes_through_the_proxy(
    sdk: str, proxy: StartProxy, job_environment: JobEnvironment, tmp_path: Path
) -> None:
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True)) as gemini:
        results = through_the_proxy(sdk, gemini, proxy, job_environment, tmp_path)
        assert_right(results, gemini, sdk)
        assert_nothing_went_around(gemini)
        chunks = [exchange for exchange in gemini.exchanges if "upload_id=" in exchange.request.target]
        assert sum(len(chunk.request.body) for chunk in chunks) == len(CONTENT)
        assert len(gemini.exchanges) == len(chunks) + 5  # generate, stream, start of the upload, get, delete


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_a_failure_of_each_repeatable_call_is_hidden_from_an_unmodified_sdk(
    sdk: str, proxy: StartProxy, job_environment: JobEnvironment, tmp_path: Path, kind: str
) -> None:
    faults = [Fault(kind, on=request) for request in REPEATABLE]
    with threaded(GeminiStandIn(key=KEY, only_through_proxy=True, faults=faults)) as gemini:
        results = through_the_proxy(sdk, gemini, proxy, job_environment, tmp_path)
        assert_right(results, gemini, sdk)
        assert_nothing_went_around(gemini)
        assert gemini.script.left == 0
        failed = [exchange for exchange in gemini.exchanges if exchange.fault is not None]
        assert len(failed) == len(REPEATABLE)
