"""Against a package of the SDK's shape; tests/end_to_end/clients has the SDK itself."""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_clients.external_services import create_gemini_client, gemini, legacy_gemini
from blueprint_clients.external_services.calls import CURRENT, CurrentCall
from blueprint_clients.external_services.legacy_gemini import MARGIN_S, LegacySdk
from blueprint_clients.sidecar import sidecar_of
from support.sidecar import ADDRESSES, UPSTREAMS, Said, ScriptedSidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = """
class _Manager:
    client_config = {}
    clients = {}
    default_metadata = ()

_client_manager = _Manager()

class Options:
    api_key = None

class Generative:
    def __init__(self): self.seen = []
    def generate_content(self, request, **named):
        self.seen.append((request, named, dict(_client_manager.default_metadata)))
        return "answer"

def configure(*, api_key=None, transport=None, client_options=None, default_metadata=()):
    options = Options()
    options.api_key = api_key
    options.api_endpoint = (client_options or {}).get("api_endpoint")
    _client_manager.client_config = {"transport": transport, "client_options": options}
    _client_manager.default_metadata = default_metadata
    _client_manager.clients = {}

def get_default_generative_client():
    return _client_manager.clients.setdefault("generative", Generative())
"""
PACKAGE = "from google.generativeai import client\nfrom google.generativeai.client import configure\n"
NAMES = ("google", "google.generativeai", "google.generativeai.client")


@pytest.fixture
def legacy(job: pytest.MonkeyPatch) -> Iterator[LegacySdk]:
    """A process that has not followed the SDK yet."""
    one = LegacySdk()
    job.setattr(legacy_gemini, "LEGACY", one)
    job.setattr(gemini, "LEGACY", one)
    hooks = list(sys.meta_path)
    sys.meta_path[:] = [hook for hook in hooks if not isinstance(hook, legacy_gemini._AfterImport)]
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "google"}
    yield one
    sys.meta_path[:] = hooks
    for name in NAMES:
        sys.modules.pop(name, None)
    sys.modules.update(kept)


@pytest.fixture
def installed(legacy: LegacySdk, job: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "google" / "generativeai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "client.py").write_text(CLIENT)
    job.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()


def sdk() -> Any:
    return importlib.import_module("google.generativeai")


def configured() -> dict[str, Any]:
    found: dict[str, Any] = sys.modules["google.generativeai.client"]._client_manager.client_config
    return found


def is_pointed() -> bool:
    options = configured().get("client_options")
    return getattr(options, "api_endpoint", None) == "http://127.0.0.1:8900/gemini"


def ask() -> Any:
    return sdk().client.get_default_generative_client().generate_content("prompt")


def test_an_sdk_imported_before_is_moved_by_the_first_call(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    sdk()
    client = create_gemini_client()
    assert not is_pointed()
    assert client.call(ask) == "answer"
    assert is_pointed()
    assert configured()["transport"] == "rest"
    assert configured()["client_options"].api_key == "kept-by-blueprint-proxy"
    assert scripted.guard_traffic() == []
    assert client.get_stats()["through_count"] == 1


def test_an_sdk_imported_later_is_moved_by_its_import(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    create_gemini_client()
    sdk()
    assert is_pointed()


def test_an_sdk_imported_inside_the_function_goes_through(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    assert create_gemini_client().call(ask) == "answer"
    assert scripted.guard_traffic() == []


def test_a_job_that_configures_it_again_is_brought_back(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    client = create_gemini_client()
    sdk().configure(api_key="own")
    assert not is_pointed()
    client.call(ask)
    assert is_pointed()


def test_what_is_in_place_is_left_in_place(scripted: ScriptedSidecar, legacy: LegacySdk, installed: None) -> None:
    client = create_gemini_client()
    client.call(ask)
    before = configured()
    client.call(ask)
    assert configured() is before


def test_the_jobs_own_key_stays_where_the_sidecar_has_none(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    upstreams = {"gemini": {**UPSTREAMS["gemini"], "credential": False}}
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "upstreams": upstreams}))
    client = create_gemini_client()
    sdk().configure(api_key="own")
    client.call(ask)
    assert is_pointed()
    assert configured()["client_options"].api_key == "own"


def test_each_request_carries_deadline_run_and_token_and_the_sdk_repeats_nothing(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None, job: pytest.MonkeyPatch
) -> None:
    job.setenv("BLUEPRINT_RUN", "abc")
    job.setenv("BLUEPRINT_PROXY_TOKEN", "t")
    create_gemini_client().call(ask, timeout=20.0)
    ((request, named, fields),) = sdk().client.get_default_generative_client().seen
    assert request == "prompt"
    assert named["retry"] is None
    assert 19 + MARGIN_S < named["timeout"] <= 20 + MARGIN_S
    assert (fields["x-blueprint-run"], fields["x-blueprint-token"]) == ("abc", "t")
    assert 19_000 < int(fields["x-blueprint-timeout-ms"]) <= 20_000


def test_outside_a_call_there_is_no_deadline_to_say(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    create_gemini_client()
    ask()
    ((_, named, fields),) = sdk().client.get_default_generative_client().seen
    assert named == {"retry": None, "timeout": None}
    assert fields == {}


def test_a_deadline_that_has_passed_is_said_as_the_shortest(legacy: LegacySdk) -> None:
    token = CURRENT.set(CurrentCall(time.monotonic() - 1))
    assert dict(legacy_gemini._CallFields())["x-blueprint-timeout-ms"] == "1"
    CURRENT.reset(token)


def test_an_sdk_that_is_installed_and_not_used_ends_the_guess(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    client = create_gemini_client()
    client.call(lambda: 1)
    assert scripted.guard_traffic() == []
    client.call(lambda: 2)
    assert len(scripted.guard_traffic()) == 2
    client.call(ask)
    client.call(ask)
    assert len(scripted.guard_traffic()) == 4


def test_without_the_sdk_nothing_is_imported_and_calls_are_guarded(
    scripted: ScriptedSidecar, legacy: LegacySdk, job: pytest.MonkeyPatch
) -> None:
    job.setattr(sys, "path", [])
    create_gemini_client().call(lambda: 1)
    assert len(scripted.guard_traffic()) == 2
    assert "google.generativeai" not in sys.modules


def test_without_a_sidecar_the_sdk_is_left_alone(legacy: LegacySdk, installed: None) -> None:
    client = create_gemini_client()
    sdk()
    assert configured() == {}
    assert client.call(ask) == "answer"
    assert configured() == {}


def test_switched_off_the_sdk_is_left_alone(legacy: LegacySdk, installed: None, job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_PROXY", "off")
    create_gemini_client().call(ask)
    assert configured() == {}


def test_over_a_unix_socket_the_sdk_is_left_alone_and_guarded(
    scripted: ScriptedSidecar, legacy: LegacySdk, installed: None
) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "http": "unix:/run/x"}))
    create_gemini_client().call(ask)
    assert configured() == {}
    assert len(scripted.guard_traffic()) == 2


def test_several_clients_follow_the_sdk_once(scripted: ScriptedSidecar, legacy: LegacySdk, installed: None) -> None:
    before = len(sys.meta_path)
    for _ in range(3):
        create_gemini_client()
    assert len(sys.meta_path) == before + 1


def test_the_sidecars_new_address_is_followed(scripted: ScriptedSidecar, legacy: LegacySdk, installed: None) -> None:
    create_gemini_client()
    sdk()
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "http": "http://127.0.0.1:9900"}))
    sidecar = sidecar_of()
    assert sidecar is not None
    sidecar._addresses = None
    legacy.point(sidecar)
    assert configured()["client_options"].api_endpoint == "http://127.0.0.1:9900/gemini"
