from __future__ import annotations

import shlex

import pytest

from blueprint_proxy.config import exports, load


def exported(lines: list[str]) -> dict[str, str]:
    pairs = [shlex.split(line)[1].partition("=") for line in lines if not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_exports_point_the_sdks_at_the_sidecar():
    assert exported(exports(load(None, {}), None)) == {
        "BLUEPRINT_PROXY": "http://127.0.0.1:8901",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:8900/gemini",
        "API_ENDPOINT_OVERRIDE": "http://127.0.0.1:8900/gcs",
        "PARTICULATE_ENDPOINT": "http://127.0.0.1:8900/particulate",
        "GEMINI_API_KEY": "kept-by-blueprint-proxy",
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
        "GENIESIM_HOST": "127.0.0.1",
        "GENIESIM_PORT": "50052",
    }


def test_exports_of_a_run_name_it_in_the_addresses():
    found = exported(exports(load(None, {}), "scene~job"))
    assert found["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:8900/@scene~job/gemini"
    assert found["BLUEPRINT_RUN"] == "scene~job"


@pytest.mark.parametrize("run", ["", "a/b", "a?b", "a b", "a\nb", "ä", "%2e"])
def test_a_run_that_cannot_stand_in_a_path_is_refused(run):
    with pytest.raises(ValueError, match="a run's name"):
        exports(load(None, {}), run)


def test_exports_are_quoted_for_the_shell(configure):
    lines = exports(configure("listen: {admin: 'unix:/run/my $(dir)/s'}"), "$(id)")
    assert "export BLUEPRINT_PROXY='unix:/run/my $(dir)/s'" in lines
    assert exported(lines)["BLUEPRINT_RUN"] == "$(id)"
    assert exported(lines)["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:8900/@$(id)/gemini"


def test_exports_of_an_unspecified_address_are_loopback(configure):
    config = configure(
        "listen: {http: '0.0.0.0:1', admin: '[::]:2'}\ntls: {cert: /c, key: /k}",
        BLUEPRINT_PROXY_TOKEN="t",
        BLUEPRINT_PROXY_ADMIN_TOKEN="t",
    )
    found = exported(exports(config))
    assert found["API_ENDPOINT_OVERRIDE"] == "https://127.0.0.1:1/gcs"
    assert found["BLUEPRINT_PROXY"] == "https://127.0.0.1:2"


def test_exports_of_a_unix_listener_say_what_is_not_possible(configure):
    lines = exports(configure("listen: {http: 'unix:/run/p'}"))
    assert "API_ENDPOINT_OVERRIDE" not in exported(lines)
    assert any(line.startswith("# API_ENDPOINT_OVERRIDE: listen.http is a unix socket") for line in lines)


def test_exports_leave_out_an_upstream_that_is_not_there(configure):
    lines = exports(configure("upstreams: {gcs: null, store: {kind: gcs, url: 'http://s'}, gemini: null}"))
    assert exported(lines)["API_ENDPOINT_OVERRIDE"] == "http://127.0.0.1:8900/store"
    assert "# GOOGLE_GEMINI_BASE_URL: no upstream of kind gemini" in lines
    assert "GEMINI_API_KEY" not in exported(lines)


def test_exports_say_when_there_is_no_simulator(configure):
    assert any(line.startswith("# GENIESIM_HOST") for line in exports(configure("upstreams: {geniesim: null}")))


GIVEN = "{env: K, header: 'authorization: Bearer {}'}"


@pytest.mark.parametrize(
    ("text", "environ", "variable"),
    [
        ("", {}, "API_ENDPOINT_OVERRIDE"),
        ("upstreams: {gcs: {mode: observe, url: 'http://bucket.example'}}", {}, "API_ENDPOINT_OVERRIDE"),
        ("upstreams: {gcs: null, store: {kind: gcs, url: 'http://store'}}", {}, "API_ENDPOINT_OVERRIDE"),
        ("upstreams: {gcs: {credential: none}}", {}, "STORAGE_EMULATOR_HOST"),
        (
            "upstreams: {gcs: null, store: {kind: gcs, url: 'http://store', credential: none}}",
            {},
            "STORAGE_EMULATOR_HOST",
        ),
        (f"upstreams: {{gcs: {{credential: {GIVEN}}}}}", {}, "STORAGE_EMULATOR_HOST"),
        ("", {"STORAGE_EMULATOR_HOST": "http://emulator:9023"}, "STORAGE_EMULATOR_HOST"),
    ],
)
def test_the_storage_sdk_keeps_its_own_credential_exactly_where_calls_live_on_it(configure, text, environ, variable):
    """STORAGE_EMULATOR_HOST makes the SDK anonymous, API_ENDPOINT_OVERRIDE does not."""
    found = exported(exports(configure(text, **environ)))
    assert {"STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"} & set(found) == {variable}


def test_exports_without_a_storage_upstream_name_the_variable_that_is_missing(configure):
    assert "# STORAGE_EMULATOR_HOST: no upstream of kind gcs" in exports(configure("upstreams: {gcs: null}"))
