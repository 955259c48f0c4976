"""Both distributions as a user gets them: built as wheels, installed where nothing else of this repository is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import blueprint_clients
import blueprint_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]

WHAT_THE_CLIENT_IMPORTS = """
import json, pkgutil, sys
before = set(sys.modules)
import blueprint_clients
for module in pkgutil.walk_packages(blueprint_clients.__path__, "blueprint_clients."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"at": blueprint_clients.__file__, "foreign": sorted(tops - set(sys.stdlib_module_names))}))
"""

OURS = dict(os.environ)  # noqa: TID251 - what a child process starts from
QUIET = {name: value for name, value in OURS.items() if not name.startswith(("PYTHON", "UV_", "VIRTUAL_ENV"))}
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command that must succeed wrote to its standard output."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=QUIET, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def uv(*words: str | Path) -> str:
    """The locked uv, without network, cache or downloads."""
    return run(sys.executable, "-m", "uv", "--offline", "--no-cache", "--no-python-downloads", *words)


def built(project: Path, into: Path) -> Path:
    """The wheel of a project, built by the locked hatchling."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", into, cwd=project)
    (wheel,) = into.glob("*.whl")
    return wheel


def installed(wheel: Path, python: str | Path, where: Path) -> Path:
    """A new environment that holds the wheel and nothing else; its interpreter."""
    uv("venv", "--quiet", "--python", python, where)
    interpreter = where / "bin" / "python"
    uv("pip", "install", "--quiet", "--no-deps", "--python", interpreter, wheel)
    return interpreter


def interpreters(version: str) -> Iterator[str]:
    """Where an interpreter of this version may be: on PATH, with pyenv, wherever uv knows one."""
    if found := shutil.which(f"python{version}"):
        yield found
    pyenv = Path(OURS.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))
    command = [sys.executable, "-m", "uv", "python", "find", "--offline", "--no-python-downloads", version]
    asked = subprocess.run(command, env=QUIET, capture_output=True, text=True, timeout=60, check=False)
    if asked.returncode == 0:
        yield asked.stdout.strip()


def interpreter_of(version: str) -> str:
    """An interpreter that runs and is what its name says: a pyenv shim may be neither."""
    for candidate in interpreters(version):
        question = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(question, env=QUIET, capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return candidate
    pytest.skip(f"no Python {version} on this machine: the clients' floor is checked by mypy alone here")


@pytest.fixture(scope="module")
def proxy_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("proxy"))


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT / "clients", tmp_path_factory.mktemp("clients"))


@pytest.mark.parametrize("version", ["3.10", THIS_PYTHON])
def test_the_installed_client_imports_the_standard_library_and_nothing_else(
    client_wheel: Path, tmp_path: Path, version: str
) -> None:
    python = installed(client_wheel, interpreter_of(version), tmp_path / "job")
    seen = json.loads(run(python, "-I", "-c", WHAT_THE_CLIENT_IMPORTS, cwd=tmp_path))
    assert seen["foreign"] == ["blueprint_clients"]
    assert seen["at"].startswith(str(tmp_path / "job"))


def test_the_client_wheel_requires_nothing(client_wheel: Path) -> None:
    lines = metadata_of(client_wheel)
    assert [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line] == []
    assert "Requires-Python: >=3.10" in lines


def test_the_proxy_wheel_holds_the_package_whole_and_nothing_else(proxy_wheel: Path) -> None:
    package = ROOT / "proxy"
    ours = {
        path.relative_to(package).as_posix()
        for path in (package / "blueprint_proxy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in names_in(proxy_wheel) if ".dist-info/" not in name}
    assert held == ours


def test_the_client_wheel_holds_the_package_whole_and_nothing_else(client_wheel: Path) -> None:
    held = {name.partition("/")[0] for name in names_in(client_wheel) if ".dist-info/" not in name}
    assert held == {"blueprint_clients"}


def test_each_wheel_has_the_version_that_its_package_names(proxy_wheel: Path, client_wheel: Path) -> None:
    assert f"Version: {blueprint_proxy.__version__}" in metadata_of(proxy_wheel)
    assert f"Version: {blueprint_clients.__version__}" in metadata_of(client_wheel)


@pytest.mark.parametrize("distribution", ["proxy", "client"])
def test_both_wheels_say_that_they_are_typed(distribution: str, request: pytest.FixtureRequest) -> None:
    wheel = request.getfixturevalue(f"{distribution}_wheel")
    assert any(name.endswith("/py.typed") for name in names_in(wheel))


def test_the_proxy_wheel_carries_its_licence(proxy_wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in names_in(proxy_wheel))
    assert "License-Expression: Apache-2.0" in metadata_of(proxy_wheel)


def test_the_installed_proxy_says_its_version(proxy_wheel: Path, tmp_path: Path) -> None:
    python = installed(proxy_wheel, sys.executable, tmp_path / "host")
    # What the wheel requires comes from this environment, at the end of the path. The editable blueprint_proxy there is
    # a line in a .pth file, and those are not read in a folder that was itself added by one.
    site_packages = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()
    lent = sorted({sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]})
    Path(site_packages, "lent.pth").write_text("\n".join(lent), encoding="utf-8")
    at = run(python, "-I", "-c", "import blueprint_proxy; print(blueprint_proxy.__file__)", cwd=tmp_path)
    assert at.startswith(site_packages)
    assert blueprint_proxy.__version__ in run(python.parent / "blueprint-proxy", "--version", cwd=tmp_path)


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def metadata_of(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode().splitlines()
