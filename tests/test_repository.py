"""What holds for the repository as a whole: where tests stand, which names files may have, what no file may name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SOURCES = {
    ROOT / "proxy" / "blueprint_proxy": ROOT / "tests" / "proxy",
    ROOT / "clients" / "blueprint_clients": ROOT / "tests" / "clients",
}

WITHOUT_A_TEST_OF_THEIR_OWN = {
    "proxy/blueprint_proxy/calls.py": "values without behaviour; every test of a layer is made of them",
    "proxy/blueprint_proxy/errors.py": "names without behaviour; tests/test_documents.py holds them to the README",
}

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "handler", "service"}

MADE_BY_TOOLS = {"__pycache__", "build", "dist", "node_modules"}
HIDDEN_BUT_OURS = {".ci", ".github"}
REGISTRIES = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
        ("anaconda", "org"),
        ("repo1", "maven", "org"),
    )
)


def our_files() -> list[Path]:
    """Every file of the repository that no tool made."""
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in MADE_BY_TOOLS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name in HIDDEN_BUT_OURS)
        ]
        found += [Path(folder, name) for name in files]
    return found


def modules() -> list[tuple[Path, Path]]:
    """Each module that has behaviour, and the test that it must have."""
    found: list[tuple[Path, Path]] = []
    for source, tests in SOURCES.items():
        for module in sorted(source.rglob("*.py")):
            if module.name in {"__init__.py", "__main__.py"}:
                continue
            if module.relative_to(ROOT).as_posix() in WITHOUT_A_TEST_OF_THEIR_OWN:
                continue
            found.append((module, tests / module.relative_to(source).parent / f"test_{module.name}"))
    return found


def test_every_module_has_a_test_of_the_same_name_at_the_mirrored_path() -> None:
    missing = [
        f"{module.relative_to(ROOT)} wants {test.relative_to(ROOT)}" for module, test in modules() if not test.is_file()
    ]
    assert not missing, "\n".join(missing)


def test_every_exception_to_the_mirror_is_a_module_that_exists() -> None:
    assert [name for name in WITHOUT_A_TEST_OF_THEIR_OWN if not (ROOT / name).is_file()] == []


def test_every_folder_of_modules_is_a_package() -> None:
    bare = {
        module.parent.relative_to(ROOT).as_posix()
        for source in SOURCES
        for module in source.rglob("*.py")
        if not (module.parent / "__init__.py").is_file()
    }
    assert not bare


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    named = {
        path.relative_to(ROOT).as_posix()
        for path in our_files()
        if path.suffix == ".py"
        and SAYS_NOTHING & {part.removesuffix(".py").removeprefix("test_") for part in path.relative_to(ROOT).parts}
    }
    assert not named


def test_no_file_names_a_package_registry() -> None:
    pattern = re.compile("|".join(re.escape(host) for host in REGISTRIES).encode(), re.IGNORECASE)
    naming = [path.relative_to(ROOT).as_posix() for path in our_files() if pattern.search(path.read_bytes())]
    assert not naming


@pytest.mark.parametrize("target", ["setup", "demo", "test", "check", "bench", "containers", "lock", "docs", "clean"])
def test_the_makefile_has_the_target(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_merge_check_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_requirement_of_every_lock_is_pinned_and_hashed() -> None:
    locks = [
        ROOT / "bench" / "requirements.txt",
        *(ROOT / "deploy" / "requirements").glob("*.txt"),
        *(ROOT / "tests").rglob("locks/*.txt"),
    ]
    loose: list[str] = []
    for lock in locks:
        logical = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        requirements = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
        loose += [f"{lock.relative_to(ROOT)}: {line[:60]}" for line in requirements if not _is_pinned(line)]
    assert not loose


def _is_pinned(requirement: str) -> bool:
    return re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==\S+", requirement) is not None and "--hash=sha256:" in requirement
