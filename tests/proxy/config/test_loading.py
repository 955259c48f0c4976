from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config import ConfigError, load
from blueprint_proxy.config.loading import _Loading
from blueprint_proxy.config.reading import read_yaml

NO_DURATION = "must be a duration such as 250ms, 5s, 2m or 1h (or a number of seconds), at most 366 days"


def test_without_a_file_there_are_the_built_in_upstreams():
    config = load(None, {})
    assert {name: str(upstream.url) for name, upstream in config.upstreams.items()} == {
        "gemini": "https://generativelanguage.googleapis.com",
        "particulate": "http://localhost:8080",
        "gcs": "https://storage.googleapis.com",
        "geniesim": "grpc://localhost:50051",
    }
    assert [name for name, upstream in config.upstreams.items() if not upstream.served] == []


def test_a_file_says_where_things_are(configure):
    config = configure(
        "listen: {http: 'unix:/run/p.sock'}\nstate_dir: ~/x\ndrain: {grace: 5s}\nsecrets: {directory: /s}"
    )
    assert config.listen.http.unix == "/run/p.sock"
    assert config.state_dir == Path("~/x").expanduser()
    assert config.drain.grace == 5
    assert config.secrets.directory == Path("/s")


def test_a_file_merges_over_the_built_in_upstreams(configure):
    upstream = configure("upstreams: {gcs: {retry: {attempts: 7}}}").upstreams["gcs"]
    assert str(upstream.url) == "https://storage.googleapis.com"
    settings = upstream.for_operation("x", "GET", "/")
    assert (settings.retry.attempts, settings.retry.base) == (7, 1.0)


def test_a_built_in_upstream_without_a_value_is_removed(configure):
    assert "particulate" not in configure("upstreams: {particulate: null}").upstreams


def test_a_section_whose_keys_are_commented_out_is_no_problem(configure):
    assert configure("listen:\n  # http: x\nupstreams:\n  gcs:\n    retry:\n").drain.grace == 30


def test_every_problem_is_listed_at_once_with_its_line(problems):
    assert problems("listn: {}\ndrain:\n  grace: soon\nupstreams:\n  gcs:\n    retry: {attempts: 0}\n    url: x\n") == [
        "proxy.yaml:1: listn: unknown key; the nearest known one is listen",
        f"proxy.yaml:3: drain.grace: {NO_DURATION}",
        "proxy.yaml:6: upstreams.gcs.retry.attempts: must be at least 1",
        "proxy.yaml:7: upstreams.gcs.url: must begin with http://, https://, grpc://, grpcs:// or unix:/",
    ]


def test_a_duplicate_key_and_a_wrong_value_are_both_listed(problems):
    assert len(problems("drain: {grace: x}\ndrain: {grace: 5s}\n")) == 2


def test_a_token_comes_from_the_environment_by_itself(configure):
    config = configure("", BLUEPRINT_PROXY_TOKEN="t1", BLUEPRINT_PROXY_ADMIN_TOKEN="t2")
    assert config.jobs.token is not None
    assert config.admin.token is not None
    assert str(config.jobs.token) == "environment BLUEPRINT_PROXY_TOKEN"
    assert str(config.admin.token) == "environment BLUEPRINT_PROXY_ADMIN_TOKEN"


def test_without_a_token_anywhere_both_scopes_are_open(configure):
    config = configure("")
    assert (config.jobs.token, config.admin.token) == (None, None)


@pytest.mark.parametrize("token", ["{env: NOT_SET}", "{file: /nowhere/token}"])
def test_a_token_that_the_file_names_must_be_there(problems, token):
    (message,) = problems(f"jobs: {{token: {token}}}")
    assert "jobs.token" in message
    assert "holds no token" in message


def test_a_token_file_that_cannot_be_read_is_a_problem(problems, tmp_path):
    (message,) = problems(f"jobs: {{token: {{file: {tmp_path}}}}}")
    assert "Is a directory" in message


def test_a_missing_file_is_a_problem(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", {})


def test_a_file_that_is_not_utf8_is_a_problem(tmp_path):
    (tmp_path / "f").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "f", {})


def test_a_file_that_is_no_configuration_is_not_read_whole(tmp_path):
    (tmp_path / "f").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="longer than 1 MiB"):
        load(tmp_path / "f", {})


KEYS = st.sampled_from(
    [
        "listen",
        "http",
        "tls",
        "cert",
        "upstreams",
        "gcs",
        "gemini",
        "x",
        "url",
        "kind",
        "retry",
        "on",
        "attempts",
        "jobs",
        "token",
        "env",
        "secrets",
        "order",
        "operations",
        "credential",
        "google",
        "header",
        "deadline",
        "journal",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["none", "5s", "http://h", "adc", "a:1"])
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_data_is_a_configuration_or_a_config_error(tree):
    document = read_yaml("", "f")
    document.data = tree
    with suppress(ConfigError):
        _Loading(document, None, {"STORAGE_EMULATOR_HOST": "http://h:1"}).config()
