from __future__ import annotations

import pickle
import traceback

import pytest

from blueprint_proxy.config import (
    DUMMY_KEY,
    ConfigError,
    Secret,
    SecretPlace,
    SecretSource,
    read_place,
    read_secret,
)

VALUE = "AIza-a-real-secret-value-1234"


def file_source(path) -> SecretSource:
    return SecretSource((SecretPlace("file", str(path)),))


def env_source(*names: str) -> SecretSource:
    return SecretSource(tuple(SecretPlace("env", name) for name in names))


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret(VALUE)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret}",
        repr([secret]),
        repr({"k": secret}),
    ]
    assert not any(VALUE in text for text in shown)
    assert secret.reveal() == VALUE


def test_a_secret_is_not_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(Secret(VALUE))


def test_secrets_of_one_value_are_equal():
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("x")
    assert len({Secret(VALUE), Secret(VALUE)}) == 1


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_newline_at_the_end_of_a_file_is_dropped(tmp_path, end):
    (tmp_path / "key").write_bytes(f"{VALUE}{end}".encode())
    assert read_secret(file_source(tmp_path / "key"), {}) == Secret(VALUE)


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_holds_no_secret(tmp_path, content):
    (tmp_path / "key").write_text(content)
    assert read_secret(file_source(tmp_path / "key"), {}) is None


def test_a_missing_file_holds_no_secret(tmp_path):
    assert read_secret(file_source(tmp_path / "key"), {}) is None


def test_a_place_that_is_no_file_is_an_error(tmp_path):
    with pytest.raises(OSError, match="directory"):
        read_secret(file_source(tmp_path), {})


def test_the_first_place_that_holds_a_value_is_used():
    assert read_secret(env_source("A", "B"), {"A": "", "B": VALUE}) == Secret(VALUE)
    assert read_secret(env_source("A", "B"), {"A": "first", "B": VALUE}) == Secret("first")


def test_the_dummy_key_of_the_exports_is_no_secret():
    assert read_secret(env_source("GEMINI_API_KEY"), {"GEMINI_API_KEY": DUMMY_KEY}) is None


@pytest.mark.parametrize("tail", ["\r\nx-evil: 1", "\0", "ä", "\n\n"])
def test_a_value_that_no_header_can_carry_is_refused_without_being_shown(tmp_path, tail):
    (tmp_path / "key").write_bytes(f"{VALUE}{tail}".encode())
    with pytest.raises(ValueError, match="no header can carry") as error:
        read_secret(file_source(tmp_path / "key"), {})
    assert VALUE not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("kind", ["file", "env"])
def test_what_is_no_text_is_refused_without_being_shown(tmp_path, kind):
    raw = b"\xff\xfe" + VALUE.encode()
    (tmp_path / "key").write_bytes(raw)
    environ = {"KEY": raw.decode("utf-8", "surrogateescape")}
    place = SecretPlace("env", "KEY") if kind == "env" else SecretPlace("file", str(tmp_path / "key"))
    with pytest.raises(ValueError, match="is not UTF-8 text") as error:
        read_place(place, environ)
    assert VALUE not in "".join(traceback.format_exception(error.value))


def test_a_file_longer_than_any_secret_is_refused(tmp_path):
    (tmp_path / "key").write_text("x" * 70_000)
    with pytest.raises(ValueError, match="64 KiB"):
        read_secret(file_source(tmp_path / "key"), {})


@pytest.mark.parametrize(
    "text",
    [
        f"jobs: {{token: {VALUE}}}",
        f"admin: {{token: [{VALUE}]}}",
        f"jobs: {{token: {{env: '{VALUE}!'}}}}",
        f"jobs: {{token: {{{VALUE}: x}}}}",
        f"jobs: {{token: {{value: {VALUE}}}}}",
        f"jobs:\n  token:\n    env{VALUE[:3]}: x # {VALUE}",
        f"jobs: {{token: *{VALUE}}}",
        f"jobs: {{token: !{VALUE} x}}",
        f'jobs: {{token: "{VALUE}',
        f"upstreams: {{gemini: {{credential: {VALUE}}}}}",
        f"upstreams: {{gemini: {{credential: {{{VALUE}: x}}}}}}",
        f"upstreams: {{gemini: {{credential: {{secret: 'a/{VALUE}'}}}}}}",
        f"upstreams: {{gemini: {{credential: {{env: X, header: 'authorization: Bearer {VALUE}'}}}}}}",
        f"upstreams: {{gemini: {{credential: {{google: {VALUE}}}}}}}",
        f"upstreams: {{gemini: {{url: 'https://user:{VALUE}@host'}}}}",
        f"upstreams: {{gemini: {{url: 'https://host/?key={VALUE}'}}}}",
    ],
)
def test_no_problem_repeats_a_secret_that_stands_where_it_must_not(configure, text):
    with pytest.raises(ConfigError) as error:
        configure(text)
    assert VALUE not in "".join(traceback.format_exception(error.value))
    assert VALUE not in repr(error.value.problems)
