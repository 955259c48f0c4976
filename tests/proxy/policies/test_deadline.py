"""The deadline and its headers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.policies.deadline import (
    LONGEST_WAIT,
    earliest,
    format_grpc_timeout,
    format_server_timeout,
    grpc_timeout,
    left,
    patience,
    server_timeout,
    timeout_ms,
)


def test_of_3_deadlines_the_smallest_wins():
    assert earliest(None, 30.0, 12.5, None, 20.0) == 12.5


def test_nobodys_deadline_is_none():
    assert earliest() is None
    assert earliest(None, None) is None
    assert left(None, 5.0) is None


def test_a_deadline_at_time_0_is_a_deadline():
    assert earliest(0.0, 5.0) == 0.0
    assert left(0.0, 1.0) == 0.0


def test_4_seconds_are_left_at_8_of_12_and_0_when_it_is_past():
    assert left(12.0, 8.0) == 4.0
    assert left(12.0, 13.0) == 0.0


@pytest.mark.parametrize(("value", "seconds"), [(b"1500", 1.5), (b"0", 0.0), (b"9999999999", 9_999_999.999)])
def test_the_proxys_own_timeout_is_in_milliseconds(value, seconds):
    assert timeout_ms(value) == seconds


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"1e3", b" 1", b"12345678901", b"x", "\u0661".encode(), b"+1"])
def test_a_bad_timeout_is_refused(value):
    with pytest.raises(ValueError, match="x-blueprint-timeout-ms"):
        timeout_ms(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200.0), (b"3M", 180.0), (b"60S", 60.0), (b"1500m", 1.5), (b"1500u", 0.0015), (b"99999999n", 0.099999999)],
)
def test_a_grpc_timeout_has_six_units(value, seconds):
    assert grpc_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"S", b"10", b"10s", b"-1S", b"1.5S", b"123456789S", b"10 S", b"10SS", b"\xff"])
def test_a_bad_grpc_timeout_is_refused(value):
    with pytest.raises(ValueError, match="grpc-timeout"):
        grpc_timeout(value)


@pytest.mark.parametrize(("value", "seconds"), [(b"60", 60.0), (b"2.5", 2.5), (b"0", 0.0), (b"00.5", 0.5)])
def test_a_server_timeout_is_in_seconds(value, seconds):
    assert server_timeout(value) == seconds


@pytest.mark.parametrize("value", [b"", b".", b"1.", b".5", b"-1", b"1e3", b"nan", b"inf", b"1.2.3", b"9" * 21, b"1 "])
def test_a_bad_server_timeout_is_refused(value):
    with pytest.raises(ValueError, match="X-Server-Timeout"):
        server_timeout(value)


@pytest.mark.parametrize(
    ("seconds", "grpc", "server"),
    [
        (1.2341, b"1235m", b"2"), (0.0, b"1m", b"1"), (-3.0, b"1m", b"1"), (60.0, b"60000m", b"60"),
        (99_999.999, b"99999999m", b"100000"), (100_000.0, b"100000S", b"100000"),
        (1e9, b"16666667M", b"1000000000"), (1e13, b"99999999H", b"10000000000000"),
    ],
)  # fmt: skip
def test_what_is_left_is_written_rounded_up_and_at_least_1(seconds, grpc, server):
    assert (format_grpc_timeout(seconds), format_server_timeout(seconds)) == (grpc, server)


@settings(deadline=None)
@given(st.floats(0, 3e11))
def test_a_written_grpc_timeout_reads_back_as_no_less_and_hardly_more(seconds):
    again = grpc_timeout(format_grpc_timeout(seconds))
    assert seconds * (1 - 1e-9) <= again <= max(seconds * 1.001, seconds + 0.0011)


@settings(deadline=None)
@given(st.binary(max_size=24))
def test_bytes_that_are_no_timeout_raise_nothing_but_value_error(value):
    for parse in (timeout_ms, grpc_timeout, server_timeout):
        try:
            assert parse(value) >= 0.0
        except ValueError:
            continue


def test_a_call_without_a_deadline_has_a_bounded_patience():
    assert patience(None, 100.0) == LONGEST_WAIT
    assert patience(130.0, 100.0) == 30.0
    assert patience(90.0, 100.0) == 0.0
