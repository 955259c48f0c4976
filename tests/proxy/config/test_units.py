from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config.units import LONGEST, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("2m", 120), ("1h", 3600), ("1.5s", 1.5), ("0s", 0), (3, 3), (0.25, 0.25)],
)
def test_a_duration_is_read_as_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 64 << 20), ("1KiB", 1024), ("10kB", 10_000), ("1.5GiB", 3 << 29), ("7B", 7), (9, 9)]
)
def test_a_size_is_read_as_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 s",
        "-5s",
        "s",
        "5S",
        "1d",
        "5s ",
        "1e3s",
        "\u0665s",
        True,
        None,
        -1,
        float("inf"),
        float("nan"),
        [],
        "9" * 400,
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "64 MiB", "-1MiB", "64mib", "1.5", True, None, -1, 1.5, "\u0665MiB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


def test_a_duration_longer_than_a_year_is_a_typing_mistake():
    with pytest.raises(ValueError, match="at most 366 days"):
        parse_duration("9000h")
    assert parse_duration(LONGEST) == LONGEST


@given(st.integers(min_value=0, max_value=int(LONGEST * 1000)))
def test_a_written_duration_is_read_as_the_same_duration(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, rel=1e-15)


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_written_size_is_read_as_the_same_size(size):
    assert parse_size(format_size(size)) == size


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds <= LONGEST


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text):
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert size >= 0
