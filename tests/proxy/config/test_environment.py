from __future__ import annotations

import pytest

from blueprint_proxy.config import load
from blueprint_proxy.config.environment import google_project, process_environment, quieten_grpc


def url(environ: dict[str, str], name: str) -> str:
    return str(load(None, environ).upstreams[name].url)


def test_a_url_variable_beats_the_file(configure):
    config = configure("upstreams: {gcs: {url: 'http://file'}}", BLUEPRINT_UPSTREAM_GCS_URL="http://env:1")
    assert str(config.upstreams["gcs"].url) == "http://env:1"
    assert config.upstreams["gcs"].origins["url"] == "environment BLUEPRINT_UPSTREAM_GCS_URL"


def test_a_dash_in_a_name_is_an_underscore_in_its_variable(configure):
    config = configure("upstreams: {my-api: {url: 'http://a'}}", BLUEPRINT_UPSTREAM_MY_API_URL="http://b")
    assert str(config.upstreams["my-api"].url) == "http://b"


def test_an_upstream_may_have_its_url_from_the_environment_alone(configure):
    assert str(configure("upstreams: {x: {}}", BLUEPRINT_UPSTREAM_X_URL="http://b").upstreams["x"].url) == "http://b"


def test_a_variable_that_names_no_upstream_is_a_problem(problems):
    (message,) = problems("", BLUEPRINT_UPSTREAM_GCSS_URL="http://b")
    assert message.startswith("environment: BLUEPRINT_UPSTREAM_GCSS_URL: names no upstream")


def test_a_variable_that_names_two_upstreams_is_a_problem(problems):
    text = "upstreams: {a-b: {url: 'http://a'}, a_b: {url: 'http://a'}}"
    (message,) = problems(text, BLUEPRINT_UPSTREAM_A_B_URL="http://b")
    assert "names two upstreams: a-b and a_b" in message


def test_a_bad_url_in_a_variable_is_a_problem_of_the_variable(problems):
    (message,) = problems("", BLUEPRINT_UPSTREAM_GCS_URL="http://user:sesame@h")
    assert message.startswith("environment: BLUEPRINT_UPSTREAM_GCS_URL: upstreams.gcs.url must not hold a user")
    assert "sesame" not in message


@pytest.mark.parametrize(
    ("environ", "name", "expected"),
    [
        ({"GOOGLE_GEMINI_BASE_URL": "http://g:1/base"}, "gemini", "http://g:1/base"),
        ({"PARTICULATE_ENDPOINT": "https://p"}, "particulate", "https://p"),
        ({"STORAGE_EMULATOR_HOST": "http://e:9023"}, "gcs", "http://e:9023"),
        ({"STORAGE_EMULATOR_HOST": "e:9023"}, "gcs", "http://e:9023"),
        ({"GENIESIM_HOST": "sim", "GENIESIM_PORT": "50061"}, "geniesim", "grpc://sim:50061"),
        ({"GENIESIM_HOST": "sim"}, "geniesim", "grpc://sim:50051"),
        ({"GENIESIM_PORT": "50061"}, "geniesim", "grpc://localhost:50061"),
        ({"GENIESIM_HOST": "::1"}, "geniesim", "grpc://[::1]:50051"),
    ],
)
def test_the_jobs_own_variables_name_upstreams(environ, name, expected):
    assert url(environ, name) == expected


def test_the_jobs_own_variables_do_not_beat_the_file(configure):
    config = configure("upstreams: {gcs: {url: 'http://file'}}", STORAGE_EMULATOR_HOST="http://e")
    assert str(config.upstreams["gcs"].url) == "http://file"


def test_the_jobs_own_variables_do_not_beat_a_url_variable():
    assert url(
        {"PARTICULATE_ENDPOINT": "http://a", "BLUEPRINT_UPSTREAM_PARTICULATE_URL": "http://b"}, "particulate"
    ) == ("http://b")


def test_a_file_that_says_nothing_of_the_url_leaves_it_to_the_jobs_variables(configure):
    config = configure("upstreams: {gcs: {mode: observe}}", STORAGE_EMULATOR_HOST="http://e")
    assert str(config.upstreams["gcs"].url) == "http://e"


def test_an_emulator_gets_no_credential():
    upstream = load(None, {"STORAGE_EMULATOR_HOST": "http://e"}).upstreams["gcs"]
    assert upstream.credential is None
    assert upstream.origins["credential"] == "environment STORAGE_EMULATOR_HOST"


def test_an_empty_variable_is_not_set():
    assert (
        url({"STORAGE_EMULATOR_HOST": "", "BLUEPRINT_UPSTREAM_GCS_URL": ""}, "gcs") == "https://storage.googleapis.com"
    )


def test_exports_read_back_by_the_proxy_itself_are_a_loop(problems):
    (message,) = problems("", STORAGE_EMULATOR_HOST="http://127.0.0.1:8900/gcs")
    assert message.startswith("environment: STORAGE_EMULATOR_HOST: upstreams.gcs.url is this proxy's own listener")


def test_a_variable_of_an_upstream_that_was_removed_is_ignored(configure):
    assert "gcs" not in configure("upstreams: {gcs: null}", STORAGE_EMULATOR_HOST="http://e").upstreams


def test_the_configuration_file_may_be_named_by_a_variable(tmp_path):
    (tmp_path / "named.yaml").write_text("drain: {grace: 7s}")
    config = load(None, {"BLUEPRINT_PROXY_CONFIG": str(tmp_path / "named.yaml")})
    assert (config.drain.grace, config.source) == (7, tmp_path / "named.yaml")


def test_a_given_file_beats_the_named_one(tmp_path, configure):
    assert configure("drain: {grace: 8s}", BLUEPRINT_PROXY_CONFIG="/nowhere").drain.grace == 8


@pytest.mark.parametrize(
    ("environ", "project"),
    [
        ({}, None),
        ({"PROJECT_ID": "p-1"}, "p-1"),
        ({"PROJECT_ID": "p-1", "GCP_PROJECT_ID": "p-2"}, "p-2"),
        ({"GCP_PROJECT_ID": "p-2", "GOOGLE_CLOUD_PROJECT_ID": "p-3"}, "p-3"),
        ({"GOOGLE_CLOUD_PROJECT_ID": "p-3", "GCP_PROJECT": "p-4"}, "p-4"),
        ({"GCP_PROJECT": "p-4", "GOOGLE_CLOUD_PROJECT": "p-5"}, "p-5"),
        ({"GOOGLE_CLOUD_PROJECT": "", "PROJECT_ID": "p-1"}, "p-1"),
        ({"GOOGLE_CLOUD_PROJECT": "no/project at all", "PROJECT_ID": "example.com:p-1"}, "example.com:p-1"),
    ],
)
def test_a_google_project_goes_by_five_names(environ, project):
    assert google_project(environ) == project


@pytest.mark.parametrize(("before", "after"), [("", "ERROR"), ("DEBUG", "DEBUG")])
def test_grpc_says_only_errors_unless_the_operator_wants_more(monkeypatch, before, after):
    monkeypatch.setenv("GRPC_VERBOSITY", before)  # so that it is put back
    if not before:
        monkeypatch.delenv("GRPC_VERBOSITY")
    quieten_grpc()
    assert process_environment()["GRPC_VERBOSITY"] == after
