"""The documents say what the code does: their commands, configurations, tables and generated parts are held against it.

Run as a program (`make docs`), it writes README.md's generated parts anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blueprint_proxy.errors import Reason

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "proxy" / "blueprint_proxy"
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "clients" / "README.md",
]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))

KNOWN_COMMANDS = {
    # words that begin a shell line of the documents: why they may stand there
    "make": "its targets are compared with the Makefile's",
    "blueprint-run": "tests/clients/test_launcher.py runs it",
    "blueprint-proxy": "its subcommands are compared with the program's",
    "eval": "only with blueprint-proxy env",
    "export": "sets a variable",
    "pip": "tests/test_packaging.py installs",
    "docker": "tests/containers does the same with podman",
    "curl": "an example of any HTTP client",
    ".ci/run": "what a merge runs",
}

QUIET = {"PATH": os.defpath, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "LANG": "C.UTF-8"}
"""The environment of a program whose output is compared: nothing of the developer's own settings or keys."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, document: Path) -> list[str]:
    """The fenced blocks of one language."""
    return [text for found, text in FENCE.findall(document.read_text(encoding="utf-8")) if found == language]


def prose() -> str:
    """All documents, one after the other."""
    return "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)


def program(*words: str) -> str:
    """What the blueprint-proxy of this environment prints."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [Path(sys.executable).with_name("blueprint-proxy"), *words],
            env=QUIET | {"HOME": home},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def reference() -> str:
    """The configuration reference, from the models."""
    from blueprint_proxy.config import reference as of_the_models

    return of_the_models().strip()


GENERATED = {
    "command line": lambda: f"```\n{program('--help')}\n```",
    "job environment": lambda: f"```sh\n{program('env')}\n```",
    "configuration reference": reference,
}


def generated_part(name: str, text: str) -> re.Match[str]:
    """Where a generated part stands in the README."""
    found = re.search(rf"(?<=<!-- {name} -->\n)(.*?)(?=<!-- end of {name} -->)", text, re.DOTALL)
    assert found is not None, f"README.md has lost the markers of its part {name!r}"
    return found


def rewrite() -> None:
    """Write the README's generated parts anew."""
    text = README.read_text(encoding="utf-8")
    for name, make in GENERATED.items():
        place = generated_part(name, text)
        text = f"{text[: place.start()]}\n{make()}\n\n{text[place.end() :]}"
    README.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_part_of_the_readme_is_what_the_code_says_now(name: str) -> None:
    written = generated_part(name, README.read_text(encoding="utf-8")).group().strip()
    assert written == GENERATED[name]().strip(), "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def configurations() -> list[ParameterSet]:
    """Every configuration that a document or an example shows."""
    shown = [pytest.param(path.read_text(encoding="utf-8"), id=path.name) for path in EXAMPLES]
    for document in DOCUMENTS:
        for number, text in enumerate(blocks("yaml", document), 1):
            shown.append(pytest.param(text, id=f"{document.relative_to(ROOT)}-{number}"))
    return shown


@pytest.mark.parametrize("text", configurations())
def test_every_configuration_shown_is_one_that_loads(text: str, tmp_path: Path) -> None:
    from blueprint_proxy.config import load

    file = tmp_path / "shown.yaml"
    file.write_text(text, encoding="utf-8")
    assert load(file, {}).upstreams


def shell_lines() -> list[list[str]]:
    """Every command of every shell block, as words."""
    text = "\n".join(block for document in DOCUMENTS for block in blocks("sh", document))
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def test_every_command_shown_is_a_known_one() -> None:
    assert [words for words in shell_lines() if words[0] not in KNOWN_COMMANDS] == []


def test_every_make_target_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = set(re.findall(r"(?:^|`)make ([a-z]+)", prose(), re.MULTILINE))
    assert shown
    assert shown <= targets


def test_every_subcommand_shown_exists() -> None:
    shown = set(re.findall(r"(?:^|`|\$\()blueprint-proxy ([a-z][a-z-]+)", prose(), re.MULTILINE))
    assert shown
    assert [name for name in sorted(shown) if not program(name, "--help")] == []


def python_blocks() -> list[ParameterSet]:
    """Every Python block, with a name for it."""
    return [
        pytest.param(text, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, text in enumerate(blocks("python", document), 1)
    ]


@pytest.mark.parametrize("text", python_blocks())
def test_every_python_block_runs_where_its_sdk_is_installed(text: str, tmp_path: Path) -> None:
    compile(text, "block", "exec")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        env=QUIET | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "google.generativeai" in text and "No module named 'google.generativeai'" in done.stderr:
        pytest.skip("the legacy SDK is not among the development dependencies; the block was compiled")
    assert done.returncode == 0, done.stderr


def refusal_rows() -> list[str]:
    """The table of refusals, a row a line, without its head."""
    _, _, table = README.read_text(encoding="utf-8").partition("| reason | status |")
    return [line for line in table.split("\n\n")[0].splitlines()[2:] if line.startswith("|")]


def explained() -> tuple[list[str], list[str]]:
    """The reasons that the table explains, and those that it marks as not yet given."""
    given: list[str] = []
    not_yet: list[str] = []
    group = given
    for row in refusal_rows():
        if "**not yet**" in row:
            group = not_yet
        group += re.findall(r"`([a-z_]+)`", row.split("|")[1])
    return given, not_yet


def test_the_readme_explains_every_reason_of_a_refusal_once() -> None:
    given, not_yet = explained()
    assert sorted(given + not_yet) == sorted(reason.value for reason in Reason)


def test_every_status_in_the_table_is_the_one_that_is_answered() -> None:
    from blueprint_proxy.inbound.answers import STATUSES

    shown = {
        Reason(reason): int(status)
        for row in refusal_rows()
        for reason in re.findall(r"`([a-z_]+)`", row.split("|")[1])
        if (status := row.split("|")[2].strip()).isdecimal()
    }
    assert shown == {reason: STATUSES[reason][0] for reason in shown}
    assert set(Reason) - set(shown) == {Reason.ATTEMPTS_EXHAUSTED}


def test_a_reason_is_marked_not_yet_exactly_as_long_as_no_code_gives_it() -> None:
    tables = {PACKAGE / "errors.py", PACKAGE / "inbound" / "answers.py"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path not in tables)
    used = {Reason[name].value for name in re.findall(r"\bReason\.([A-Z_]+)\b", code)}
    gate = (PACKAGE / "admin" / "gate.py").read_text(encoding="utf-8")  # the admin listener has words and no Refusal
    used |= {reason.value for reason in Reason if f'"{reason.value}"' in gate}
    assert set(explained()[0]) == used


def parts_of_the_proxy() -> list[str]:
    """What stands at the top of the package, as ARCHITECTURE.md writes it."""
    return sorted(
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and not path.name.startswith("__"))
    )


@pytest.mark.parametrize("part", parts_of_the_proxy())
def test_the_architecture_names_every_part_of_the_proxy(part: str) -> None:
    assert f"`{part}`" in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_the_architecture_names_no_part_that_is_not_there() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Words")[0]
    cells = re.findall(r"^\| ((?:`[a-z0-9_./]+`(?:, )?)+) \|", table, re.MULTILINE)
    named = re.findall(r"`([^`]+)`", " ".join(cells))
    assert sorted(named) == parts_of_the_proxy()


if __name__ == "__main__":
    rewrite()
