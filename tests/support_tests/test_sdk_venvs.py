"""The environments of the SDKs are made once, and made again only when they would be others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support import sdk_venvs
from support.sdk_venvs import SdkEnvironmentError, SdkScriptError, run_script, sdk_python

if TYPE_CHECKING:
    from pathlib import Path

SDK = "some-sdk-1.2.3"


class Installer:
    """In place of uv: counts, and fails on request."""

    def __init__(self) -> None:
        self.installed = 0
        self.offline = False

    def __call__(self, sdk: str, lock: Path, environment: Path) -> None:
        environment.mkdir()
        if self.offline:
            raise SdkEnvironmentError("no index")
        self.installed += 1


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    one = Installer()
    monkeypatch.setattr(sdk_venvs, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(sdk_venvs, "ENVIRONMENTS", tmp_path / "sdks")
    monkeypatch.setattr(sdk_venvs, "_install", one)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / f"{SDK}.txt").write_text("some-sdk==1.2.3\n")
    return one


def test_an_environment_is_made_once(installer: Installer) -> None:
    assert sdk_python(SDK) == sdk_python(SDK)
    assert installer.installed == 1


def test_a_changed_lock_makes_it_anew(installer: Installer, tmp_path: Path) -> None:
    sdk_python(SDK)
    (tmp_path / "locks" / f"{SDK}.txt").write_text("some-sdk==1.2.3 --hash=sha256:00\n")
    sdk_python(SDK)
    assert installer.installed == 2


def test_an_interrupted_environment_is_not_used(installer: Installer) -> None:
    installer.offline = True
    with pytest.raises(SdkEnvironmentError):
        sdk_python(SDK)
    installer.offline = False
    sdk_python(SDK)
    assert installer.installed == 1


def test_an_sdk_without_a_lock_is_refused(installer: Installer) -> None:
    with pytest.raises(SdkEnvironmentError, match="no lock file"):
        sdk_python("other-sdk-1.0")


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "print('no json')", "print('[]')"])
def test_a_script_without_a_result_is_an_error_with_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"print('before')\n{body}\n")
    monkeypatch.setattr(sdk_venvs, "sdk_python", lambda _: sys.executable)
    with pytest.raises(SdkScriptError, match="before"):
        run_script(SDK, script, {}, {})


def test_a_script_sees_only_the_environment_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text("import json, os, sys\nprint(json.dumps({**os.environ, **json.loads(sys.argv[1])}))\n")
    monkeypatch.setattr(sdk_venvs, "sdk_python", lambda _: sys.executable)
    monkeypatch.setenv("GEMINI_API_KEY", "the developer's own")
    seen = run_script(SDK, script, {"a": 1}, {"B": "2"})
    assert seen["a"] == 1
    assert seen["B"] == "2"
    assert "GEMINI_API_KEY" not in seen
