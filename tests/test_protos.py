"""protos/ compiles, and what the clients carry is what it compiles to."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.sdk_venvs import SdkEnvironmentError

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.timeout(700)  # the compiler's environment may have to be made


@pytest.fixture
def generate() -> ModuleType:
    """The script of protos/, whose compiler is at hand."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.sdk_python(module.COMPILER)
    except SdkEnvironmentError as missing:
        pytest.skip(str(missing))
    return module


def test_the_descriptor_set_is_what_the_definitions_compile_to(generate: ModuleType, tmp_path: Path) -> None:
    fresh = tmp_path / "descriptors.binpb"
    generate.write_descriptors(fresh)
    assert fresh.read_bytes() == generate.DESCRIPTORS.read_bytes(), "protos/ has changed: run `make protos`"


def test_definitions_that_do_not_compile_are_an_error_with_the_compilers_words(
    generate: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "broken.proto").write_text('syntax = "proto3";\nmessage Broken { Absent field = 1; }\n')
    generate.PROTOS = tmp_path
    with pytest.raises(generate.DefinitionsError, match="Absent"):
        generate.write_descriptors(tmp_path / "descriptors.binpb")


def test_every_definition_is_of_the_one_package_in_which_the_server_looks() -> None:
    for path in (ROOT / "protos").rglob("*.proto"):
        assert re.search(r"^package aimdk\.protocol;$", path.read_text(encoding="utf-8"), re.MULTILINE), path


@pytest.mark.parametrize(("made", "write"), [("METHODS", "write_methods"), ("DEFINITIONS", "write_definitions")])
def test_what_is_written_from_the_set_is_what_the_clients_carry(
    generate: ModuleType, tmp_path: Path, made: str, write: str
) -> None:
    carried: Path = getattr(generate, made)
    fresh = tmp_path / carried.name
    getattr(generate, write)(generate.DESCRIPTORS, fresh)
    assert fresh.read_text(encoding="utf-8") == carried.read_text(encoding="utf-8"), "run `make protos`"
