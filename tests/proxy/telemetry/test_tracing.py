import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.telemetry.tracing import Trace, parse

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (f"00-{ID}-{PARENT}-01", 1),
        (f"00-{ID}-{PARENT}-00", 0),
        (f"00-{ID}-{PARENT}-03", 3),
        (f"00-{ID}-{PARENT}-ff", 3),
        (f"01-{ID}-{PARENT}-01", 1),
        (f"cc-{ID}-{PARENT}-01-what-the-future-brings", 1),
        (f"fe-{ID}-{PARENT}-01-", 1),
    ],
)
def test_a_valid_traceparent_is_read(value, flags):
    assert parse(value.encode()) == Trace(ID, flags)


@pytest.mark.parametrize(
    "value",
    [
        "", "garbage", f"ff-{ID}-{PARENT}-01", f"00-{ID}-{PARENT}-01-more", f"00-{ID}-{PARENT}-01-",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{ID}-{'0' * 16}-01", f"00-{ID.upper()}-{PARENT}-01",
        f"00-{ID[1:]}-{PARENT}-01", f"00-{ID}-{PARENT}0-01", f"00-{ID}-{PARENT}-1", f"00-{ID}-{PARENT}",
        f"cc-{ID}-{PARENT}-01.x", f" 00-{ID}-{PARENT}-01", f"00-{ID}-{PARENT}-0g", f"0x-{ID}-{PARENT}-01",
        f"00-{ID}-{PARENT}-01, 00-{ID}-{PARENT}-01", f"00_{ID}_{PARENT}_01", f"00-{ID}-{PARENT}-01\n",
    ],
)  # fmt: skip
def test_an_invalid_traceparent_is_none(value):
    assert parse(value.encode()) is None


def test_what_goes_on_has_the_trace_and_flags_a_new_parent_and_our_version():
    made = Trace(ID, 1).traceparent().decode()
    assert re.fullmatch(f"00-{ID}-[0-9a-f]{{16}}-01", made)
    assert PARENT not in made


def test_each_parent_is_new():
    assert len({Trace(ID, 1).traceparent() for _ in range(100)}) == 100


@given(st.binary(max_size=80))
def test_no_bytes_are_too_strange(value):
    found = parse(value)
    assert found is None or parse(found.traceparent()) == found
