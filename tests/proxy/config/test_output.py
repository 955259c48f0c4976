from __future__ import annotations

import json
import shlex

import jsonschema
import pytest

from blueprint_proxy.config import explain, exports, json_schema, load, reference
from blueprint_proxy.config.defaults import BY_KIND, EVERY_KIND
from blueprint_proxy.config.reading import read_yaml


def exported(lines: list[str]) -> dict[str, str]:
    pairs = [shlex.split(line)[1].partition("=") for line in lines if not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_explain_shows_each_value_with_its_origin_and_a_defaults_reason(configure):
    lines = explain(configure("upstreams: {gcs: {deadline: 90s}}"), "gcs").splitlines()
    (deadline,) = (line.split() for line in lines if line.startswith("deadline"))
    (attempts,) = (line for line in lines if line.startswith("retry.attempts"))
    assert deadline[1] == "90s"
    assert deadline[2].endswith("proxy.yaml:1")
    assert "default of kind gcs" in attempts
    assert BY_KIND["gcs"]["retry.attempts"].reason in attempts


def test_explain_of_a_call_merges_the_patterns_that_match(configure):
    config = configure("upstreams: {gcs: {operations: {objects.*: {breaker: {window: 7s}}}}}")
    text = explain(config, "gcs", "GET", "/storage/v1/b/x/o?alt=media", operation="objects.get")
    assert text.startswith("gcs (kind gcs): objects.get GET /storage/v1/b/x/o?alt=media\n")
    assert "breaker.window" in text
    assert "breaker is shared by the operations of objects.*" in text


def test_explain_without_a_call_lists_the_patterns(configure):
    config = configure("upstreams: {gcs: {operations: {objects.*: {deadline: 7s}, other: {}}}}")
    text = explain(config, "gcs")
    assert "operations objects.*\n  deadline  7s" in text


def test_explain_says_what_is_not_served_yet():
    assert explain(load(None, {}), "geniesim").startswith("geniesim (kind geniesim, not served yet)\n")


def test_explain_says_what_becomes_of_the_google_credential():
    assert "google adc: not built yet, the job's own credential passes through" in explain(load(None, {}), "gcs")


def test_explain_of_an_unknown_upstream_is_a_key_error():
    with pytest.raises(KeyError):
        explain(load(None, {}), "nobody")


def test_exports_point_the_sdks_at_the_sidecar():
    assert exported(exports(load(None, {}), None)) == {
        "BLUEPRINT_PROXY": "http://127.0.0.1:8901",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:8900/gemini",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:8900/gcs",
        "PARTICULATE_ENDPOINT": "http://127.0.0.1:8900/particulate",
        "GEMINI_API_KEY": "kept-by-blueprint-proxy",
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
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
    assert found["STORAGE_EMULATOR_HOST"] == "https://127.0.0.1:1/gcs"
    assert found["BLUEPRINT_PROXY"] == "https://127.0.0.1:2"


def test_exports_of_a_unix_listener_say_what_is_not_possible(configure):
    lines = exports(configure("listen: {http: 'unix:/run/p'}"))
    assert "STORAGE_EMULATOR_HOST" not in exported(lines)
    assert any(line.startswith("# STORAGE_EMULATOR_HOST: listen.http is a unix socket") for line in lines)


def test_exports_leave_out_an_upstream_that_is_not_there(configure):
    lines = exports(configure("upstreams: {gcs: null, store: {kind: gcs, url: 'http://s'}, gemini: null}"))
    assert exported(lines)["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:8900/store"
    assert "# GOOGLE_GEMINI_BASE_URL: no upstream of kind gemini" in lines
    assert "GEMINI_API_KEY" not in exported(lines)


def test_exports_leave_geniesim_alone_until_it_is_served():
    assert any(line.startswith("# GENIESIM_HOST") for line in exports(load(None, {})))


def test_the_redacted_configuration_is_json(configure):
    config = configure("tls: {cert: /c, key: /k}\nupstreams: {x: {url: 'unix:/x', operations: {a: {deadline: none}}}}")
    shown = json.loads(json.dumps(config.redacted()))
    assert shown["upstreams"]["x"]["operations"] == {"a": {"deadline": "none"}}
    assert shown["upstreams"]["gemini"]["credential"].endswith("environment GOOGLE_API_KEY")
    assert shown["tls"]["key"] == "/k"


def test_the_reference_names_every_default_with_its_reason():
    text = reference()
    for defaults in (EVERY_KIND, *BY_KIND.values()):
        for key, default in defaults.items():
            assert f"| `{key}` | " in text
            assert default.reason in text


@pytest.mark.parametrize(
    "key", ["listen.http", "upstreams.NAME.url", "upstreams.NAME.operations.PATTERN.class", "fleet.url"]
)
def test_the_reference_names_every_key(key):
    assert f"| `{key}` | " in reference()


def test_the_reference_holds_no_name_of_this_code():
    assert "Undefined" not in reference()
    assert "File" not in reference()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "listen: {http: 'unix:/x'}",
        "drain: {grace: 5}",
        "upstreams: {gemini: null, gcs: {credential: none, deadline: none, retry: {on: [503, reset]}}}",
        "upstreams: {x: {url: 'http://x', body: {memory: 64MiB}, operations: {a: {class: unsafe, mode: 'off'}}}}",
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(configure, text):
    configure(text)
    jsonschema.validate(read_yaml(text, "f").data, json_schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "text",
    [
        "listn: {}",
        "drain: {grace: soon}",
        "upstreams: {'@x': {url: 'http://x'}}",
        "upstreams: {gcs: {retry: {on: [soon]}}}",
        "upstreams: {gcs: {credential: literal}}",
        "jobs: {token: literal}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(problems, text):
    assert problems(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(text, "f").data, json_schema(), cls=jsonschema.Draft202012Validator)
