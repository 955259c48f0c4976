"""Fields: raw lines that pass byte for byte, and what is taken away from them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.http1.fields import HOP_BY_HOP, NOT_IN_TRAILERS, Fields

RAW = b"X-B:2\r\nx-a:  1 \t\r\nX-B: \xe4\xff\r\nEmpty:\r\nX-A:\ta:b, c\r\n"

NAMES = st.text("AaBbXx-", min_size=1, max_size=6).map(str.encode)
VALUES = st.binary(max_size=12).map(lambda raw: bytes(b for b in raw if b not in b"\r\n\x00").strip(b" \t"))
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


def test_pairs_come_in_order_with_case_duplicates_and_bytes() -> None:
    assert list(Fields(RAW)) == [
        (b"X-B", b"2"),
        (b"x-a", b"1"),
        (b"X-B", b"\xe4\xff"),
        (b"Empty", b""),
        (b"X-A", b"a:b, c"),
    ]


@given(PAIRS)
def test_pairs_written_are_the_pairs_read(pairs: list[tuple[bytes, bytes]]) -> None:
    assert list(Fields.of(pairs)) == pairs


@given(PAIRS, st.frozensets(NAMES.map(bytes.lower)))
def test_taking_names_away_leaves_the_other_pairs_as_they_were(
    pairs: list[tuple[bytes, bytes]], names: frozenset[bytes]
) -> None:
    assert list(Fields.of(pairs).without(names)) == [pair for pair in pairs if pair[0].lower() not in names]


def test_taking_a_name_away_leaves_the_other_lines_byte_for_byte() -> None:
    assert Fields(RAW).without(frozenset({b"x-b"})).raw == b"x-a:  1 \t\r\nEmpty:\r\nX-A:\ta:b, c\r\n"


def test_a_name_is_taken_away_whole_and_not_as_a_prefix() -> None:
    assert Fields(b"Hostess: x\r\nHost: y\r\n").without(frozenset({b"host"})).raw == b"Hostess: x\r\n"


def test_the_first_field_of_a_name_is_given_in_any_case() -> None:
    assert Fields(RAW).get(b"x-a") == b"1"


def test_a_name_that_is_not_there_gives_nothing() -> None:
    assert Fields(RAW).get(b"x") is None


def test_fields_are_added_at_the_end() -> None:
    assert Fields(RAW).plus((b"Z", b"9"), (b"z", b"")).raw == RAW + b"Z: 9\r\nz: \r\n"


def test_fields_are_equal_when_their_pairs_are() -> None:
    assert Fields(b"A:1 \r\n") == Fields(b"A: 1\r\n")


def test_fields_of_another_order_are_others() -> None:
    assert Fields(b"A:1\r\nB:2\r\n") != Fields(b"B:2\r\nA:1\r\n")


def test_no_value_is_in_a_repr() -> None:
    shown = repr(Fields(b"Authorization: Bearer sesame\r\nX-Goog-Api-Key: sesame\r\n"))
    assert "sesame" not in shown
    assert "Authorization, X-Goog-Api-Key" in shown


def test_trailers_keep_their_lines_byte_for_byte() -> None:
    assert Fields(RAW).trailing(frozenset()).raw == RAW


def test_trailers_lose_what_frames_routes_or_authorises() -> None:
    lines = b"".join(b"%b: x\r\n" % name.title() for name in sorted(NOT_IN_TRAILERS))
    assert Fields(lines + b"X-Checksum: 1\r\n").trailing(frozenset()).raw == b"X-Checksum: 1\r\n"


def test_trailers_lose_what_belongs_to_one_connection() -> None:
    assert HOP_BY_HOP < NOT_IN_TRAILERS


def test_trailers_lose_the_fields_between_a_job_and_this_proxy() -> None:
    assert Fields(b"X-Blueprint-Run: a\r\nx-blueprint-: b\r\nX-Blueprin: c\r\n").trailing(frozenset()).raw == (
        b"X-Blueprin: c\r\n"
    )


def test_trailers_lose_what_connection_named() -> None:
    assert Fields(b"X-A: 1\r\nX-B: 2\r\n").trailing(frozenset({b"x-a"})).raw == b"X-B: 2\r\n"
