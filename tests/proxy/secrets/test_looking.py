"""What a look at a file or a variable brings."""

import os

import pytest

from blueprint_proxy.config import DUMMY_KEY, Secret, SecretPlace
from blueprint_proxy.secrets.looking import Found, NotFound, fingerprints, look, look_at_all

NOTHING = NotFound("nothing there")


@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_value_is_found(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_KEY", "value")
    (tmp_path / "key").write_text("value\n")
    assert look(SecretPlace(kind, "THE_KEY" if kind == "env" else str(tmp_path / "key"))) == Found(Secret("value"))


def test_nothing_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("DUMMY", DUMMY_KEY)
    monkeypatch.delenv("UNSET", raising=False)
    places = [SecretPlace("env", name) for name in ("EMPTY", "DUMMY", "UNSET")]
    places += [SecretPlace("file", str(tmp_path / "none")), SecretPlace("file", str(tmp_path / "none" / "deeper"))]
    assert look_at_all(places) == dict.fromkeys(places, NOTHING)


def test_a_file_that_cannot_be_read_may_hold_a_value_all_the_same(tmp_path):
    assert look(SecretPlace("file", str(tmp_path))) == NotFound("Is a directory", passing=True)


def test_a_file_longer_than_any_secret_holds_none(tmp_path):
    (tmp_path / "key").write_text("x" * 70_000)
    answer = look(SecretPlace("file", str(tmp_path / "key")))
    assert answer == NotFound(f"file {tmp_path / 'key'} is longer than 64 KiB")


def test_a_fingerprint_changes_with_a_file_and_when_a_link_above_it_is_turned(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text("same size")
    (tmp_path / "..data").symlink_to("old")
    (tmp_path / "key").symlink_to("..data/key")
    key, none = str(tmp_path / "key"), str(tmp_path / "none")
    before = fingerprints([key, none])
    assert before[none] is None
    assert fingerprints([key, none]) == before
    (tmp_path / "..turned").symlink_to("new")
    os.replace(tmp_path / "..turned", tmp_path / "..data")  # noqa: PTH105 -- as the kubelet does it
    assert fingerprints([key])[key] not in {before[key], None}
