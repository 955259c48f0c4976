"""grpc-retry-pushback-ms, and RetryInfo in a serialised google.rpc.Status."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.policies.hints import LARGEST_BODY, LONGEST
from blueprint_proxy.policies.rpc_hints import NEVER, pushback, retry_info

URL = b"type.googleapis.com/google.rpc.RetryInfo"


def field(number, value):
    return bytes([number << 3 | 2, len(value)]) + value


def details(*delays, url=URL):
    return (
        b"\x08\x0e" + field(2, b"x") + b"".join(field(3, field(1, url) + field(2, field(1, each))) for each in delays)
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0), ("250", 0.25), (b"1000", 1.0), ("999999999999999999", LONGEST),
        ("-1", NEVER), ("-5", NEVER), ("", NEVER), ("soon", NEVER), ("1.5", NEVER), ("+1", NEVER), ("1" * 19, NEVER),
    ],
)  # fmt: skip
def test_a_pushback_is_milliseconds_and_anything_odd_forbids(value, seconds):
    assert pushback(value) == seconds


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (b"", 0.0), (b"\x08\x1a", 26.0), (b"\x08\x01\x10\x80\xca\xb5\xee\x01", 1.5), (b"\x10\x80\x84\xaf_", 0.2),
        (b"\x08" + b"\xff" * 9 + b"\x01", 0.0),  # -1 s
    ],
)  # fmt: skip
def test_a_retry_delay_is_read(delay, seconds):
    assert retry_info(details(delay)) == pytest.approx(seconds)


def test_of_several_the_longest_counts():
    assert retry_info(details(b"\x08\x02", b"\x08\x05", b"\x08\x01")) == 5.0


@pytest.mark.parametrize(
    "other",
    [
        b"", b"\x08\x0e", details(b"\x08\x02", url=b"type.googleapis.com/google.rpc.ErrorInfo"),
        b"google.rpc.RetryInfo", details(b"\x08\x02")[:-1], b"google.rpc.RetryInfo" * (LARGEST_BODY // 20 + 1),
        details(b"\x08"), b"\xff" * 12 + b"google.rpc.RetryInfo",
    ],
)  # fmt: skip
def test_what_holds_none_or_cannot_be_read_says_nothing(other):
    assert retry_info(other) is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_nothing_raises(before, after):
    retry_info(before + field(3, field(1, URL) + after))
