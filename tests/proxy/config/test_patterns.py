from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config.patterns import Pattern

GLOBS = st.text(alphabet="ab*?./-", min_size=1, max_size=8)


def ordered(*texts: str) -> list[str]:
    return [pattern.text for pattern in sorted(Pattern.parse(text, at) for at, text in enumerate(texts))]


def test_a_pattern_without_a_method_is_a_glob_over_the_name():
    pattern = Pattern.parse("objects.*", 0)
    assert pattern.matches("objects.get", "GET", "/anything")
    assert not pattern.matches("buckets.get", "GET", "/objects.get")


def test_a_pattern_with_a_method_is_a_glob_over_the_path():
    pattern = Pattern.parse("GET /storage/*/o", 0)
    assert pattern.matches("any", "GET", "/storage/v1/b/bucket/o")
    assert not pattern.matches("any", "POST", "/storage/v1/b/bucket/o")
    assert not pattern.matches("any", "GET", "/upload/o")


def test_a_star_in_place_of_the_method_is_any_method():
    assert Pattern.parse("* /x", 0).matches("any", "PATCH", "/x")


def test_a_pattern_is_matched_by_case_and_as_a_whole():
    pattern = Pattern.parse("Get", 0)
    assert not pattern.matches("get", "", "")
    assert not pattern.matches("GetMore", "", "")


def test_method_and_path_beat_a_name_however_long():
    assert ordered("GET /*", "a-very-long-literal-name") == ["a-very-long-literal-name", "GET /*"]


def test_more_literal_characters_beat_fewer():
    assert ordered("objects.get", "objects.*", "*") == ["*", "objects.*", "objects.get"]


def test_a_set_counts_as_no_literal_character():
    assert ordered("[abcdef]x", "ab*") == ["[abcdef]x", "ab*"]


def test_a_named_method_beats_any_method():
    assert ordered("GET /x", "* /x") == ["* /x", "GET /x"]


def test_of_equals_the_later_one_in_the_file_wins():
    assert ordered("a*", "*a", "a?") == ["a*", "*a", "a?"]


@given(st.lists(GLOBS, min_size=1, max_size=6), st.randoms())
def test_the_order_is_total_and_does_not_depend_on_how_it_was_shuffled(globs, chance):
    patterns = [Pattern.parse(text, at) for at, text in enumerate(globs)]
    shuffled = list(patterns)
    chance.shuffle(shuffled)
    assert sorted(shuffled) == sorted(patterns)


@given(GLOBS)
def test_a_literal_character_more_makes_a_name_more_specific(glob):
    assert Pattern.parse(glob, 1) < Pattern.parse(glob + "c", 0)


@given(st.text(alphabet="abc./-", min_size=1, max_size=12))
def test_a_pattern_without_wildcards_matches_itself_alone(name):
    pattern = Pattern.parse(name, 0)
    assert pattern.matches(name, "GET", "/")
    assert not pattern.matches(name + "x", "GET", "/")
