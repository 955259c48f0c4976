from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config.reading import read_yaml


def messages(text: str) -> list[str]:
    return [str(problem) for problem in read_yaml(text, "f").problems]


def test_on_off_and_yes_stay_words():
    assert read_yaml("on: off\nyes: [no, on]", "f").data == {"on": "off", "yes": ["no", "on"]}


def test_numbers_booleans_and_nothing_are_read_as_such():
    data = read_yaml("a: 1\nb: 1.5\nc: true\nd:\ne: null\nf: 0x10\ng: 1:30\nh: '1'\ni: 2026-01-01", "f").data
    assert data == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": None,
        "f": "0x10",
        "g": "1:30",
        "h": "1",
        "i": "2026-01-01",
    }


def test_every_key_has_its_line():
    document = read_yaml("a:\n  b: 1\n  c:\n    - x\n    - y\n", "f")
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "c", 1)) == 5
    assert document.line(("a", "b", "missing")) == 2
    assert document.line(("z",)) == 0


def test_a_key_that_stands_twice_is_a_problem_at_the_second():
    assert messages("a: 1\nb: 2\na: 3\n") == ["f:3: a: stands twice (first on line 1)"]


def test_broken_yaml_is_a_problem_with_its_line():
    (message,) = messages("a: 1\nb: [1, 2\nc: 3\n")
    assert message.startswith("f:3: not YAML: while parsing a flow sequence")


@pytest.mark.parametrize(
    "text", ["token: *hunter22", "token: !hunter22 x", "token: !hunter22!x y", "hunter22: &a &b c"]
)
def test_a_complaint_about_yaml_repeats_no_piece_of_a_value(text):
    assert messages(text)
    assert "hunter22" not in "".join(messages(text)).removeprefix("f:1: hunter22")


@pytest.mark.parametrize("text", ["", "# nothing\n", "null", "---\n"])
def test_an_empty_file_is_an_empty_configuration(text):
    document = read_yaml(text, "f")
    assert (document.data, document.problems) == ({}, [])


@pytest.mark.parametrize("text", ["- a\n", "just text", "5"])
def test_a_file_that_is_no_mapping_is_a_problem(text):
    assert messages(text) == ["f:1: must be a mapping of keys"]


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert any("repeats itself too much" in message for message in messages("\n".join(lines)))


def test_an_alias_of_itself_is_refused():
    assert any("repeats itself too much" in message for message in messages("a: &a [*a]"))


@pytest.mark.parametrize(
    "text", ['a: "\\UFFFFFFFF"', 'a: "\\uD800"', "a: \x01", "[" * 5000, "? [a]\n: b", '"a\\nb": 1', "a: !!binary x"]
)
def test_what_yaml_allows_and_a_configuration_does_not_is_a_problem(text):
    assert messages(text)


@given(st.text())
def test_no_text_raises(text):
    read_yaml(text, "f")
