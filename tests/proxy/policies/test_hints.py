"""Waits that an upstream asks for."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint_proxy.policies.hints import LARGEST_BODY, LONGEST, parse_retry_after, parse_retry_after_ms, retry_info

NOON = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples
TYPE = "type.googleapis.com/google.rpc.RetryInfo"


def error(*details):
    return json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": list(details)}}).encode()


@pytest.mark.parametrize(
    ("value", "wait"),
    [(b"120", 120.0), (b"1.5", 1.5), ("26", 26.0), (b" 7\t", 7.0), (b"-3", 0.0), (b"0", 0.0)],
)
def test_retry_after_in_seconds(value, wait):
    assert parse_retry_after(value, NOON) == wait


@pytest.mark.parametrize(
    "value",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
    ids=["imf", "rfc850", "asctime"],
)
def test_each_form_of_an_http_date_is_90_s_ahead_90_s_before_it(value):
    assert parse_retry_after(value, NOON - 90.0) == 90.0


def test_a_date_that_is_past_means_now():
    assert parse_retry_after(b"Sun, 06 Nov 1994 08:49:37 GMT", NOON + 1.0) == 0.0


def test_a_two_digit_year_more_than_50_years_ahead_is_the_last_centurys():
    in_2026 = 1_780_000_000.0
    assert parse_retry_after(b"Sunday, 06-Nov-94 08:49:37 GMT", in_2026) == 0.0
    assert parse_retry_after(b"Sunday, 06-Nov-50 08:49:37 GMT", in_2026) == LONGEST


def test_the_29th_of_february_is_a_date_in_leap_years_only():
    assert parse_retry_after(b"Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_740.0) == 60.0
    assert parse_retry_after(b"Wed, 29 Feb 2023 00:00:00 GMT", 1_709_164_740.0) is None


@pytest.mark.parametrize(
    "value",
    [
        b"", b"soon", b"1e9", b"nan", b"inf", b"1,5", b"+5", b".5", b"12 s", b"0x10", "\u0665", b"9" * 65,
        b"Sun, 00 Nov 1994 08:49:37 GMT", b"Sun, 06 Nom 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 CET", b"\xff\xfe",
    ],
)  # fmt: skip
def test_garbage_is_no_hint(value):
    assert parse_retry_after(value, NOON) is None


def test_a_wait_of_10_days_or_64_digits_is_cut_to_7_days_and_not_ignored():
    assert parse_retry_after(b"864000", NOON) == LONGEST
    assert parse_retry_after(b"9" * 64, NOON) == LONGEST


@pytest.mark.parametrize(
    ("value", "wait"),
    [(b"1500", 1.5), ("250.5", 0.2505), (b"-1", 0.0), (b"x", None), (b"", None), (b"9" * 40, LONGEST)],
)
def test_retry_after_ms(value, wait):
    assert parse_retry_after_ms(value) == wait


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80)), st.floats(0, 1e11))
def test_no_field_value_raises_and_every_wait_is_between_0_and_7_days(value, wall_now):
    for wait in (parse_retry_after(value, wall_now), parse_retry_after_ms(value)):
        assert wait is None or 0.0 <= wait <= LONGEST


@pytest.mark.parametrize(
    ("delay", "wait"),
    [
        ("26s", 26.0), ("36.5s", 36.5), ("45.837906927s", 45.837906927), ("-1s", 0.0), ("0s", 0.0),
        ({"seconds": 26, "nanos": 500_000_000}, 26.5), ({"seconds": "26"}, 26.0), ({"nanos": 250_000_000}, 0.25),
        ({"seconds": 10**30}, LONGEST), ("999999999999s", LONGEST),
    ],
)  # fmt: skip
def test_a_retry_delay_is_read(delay, wait):
    assert retry_info(error({"@type": TYPE, "retryDelay": delay})) == wait


@pytest.mark.parametrize(
    "delay",
    ["26", "s", "1e3s", "nans", "26 s", "", 26, 26.5, None, True, [], {}, {"seconds": True}, {"seconds": "x"},
     {"seconds": 1, "nanos": None}, {"seconds": 1.5}],
)  # fmt: skip
def test_a_retry_delay_of_a_wrong_kind_is_no_hint(delay):
    assert retry_info(error({"@type": TYPE, "retryDelay": delay})) is None


def test_an_error_wrapped_in_an_array_is_read():
    assert retry_info(b"[" + error({"@type": TYPE, "retryDelay": "26s"}) + b"]") == 26.0


def test_retry_info_is_found_among_other_details():
    quota = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []}
    helped = {"@type": "type.googleapis.com/google.rpc.Help"}
    assert retry_info(error(quota, "text", None, helped, {"@type": TYPE, "retryDelay": "26s"})) == 26.0


def test_of_2_retry_infos_the_longer_wait_counts():
    assert retry_info(error(*({"@type": TYPE, "retryDelay": delay} for delay in ("5s", "26s", "7s")))) == 26.0


def test_a_detail_of_another_type_is_not_read_for_its_retry_delay():
    assert retry_info(error({"@type": "type.example.com/NotRetryInfo", "retryDelay": "26s"})) is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"RetryInfo", b'"RetryInfo"', b"\xff\xfeRetryInfo", b'{"error": "RetryInfo"}',
        b'["RetryInfo", [], 1, null]',
        b'{"error": {"details": {"@type": "RetryInfo"}}}', b'{"error": {"details": ["RetryInfo", [1], {"@type": 7}]}}',
        b'{"RetryInfo": ' + b"[" * 100_000, b'{"RetryInfo": ' + b"9" * 10_000 + b"}", b"[" * 200_000 + b"RetryInfo",
        b'{"RetryInfo": NaN}',
    ],
)  # fmt: skip
def test_a_body_that_is_not_such_an_error_is_no_hint(body):
    assert retry_info(body) is None


def test_a_body_over_256_kib_is_not_searched():
    found = error({"@type": TYPE, "retryDelay": "26s"})
    assert retry_info(found.ljust(LARGEST_BODY)) == 26.0
    assert retry_info(found.ljust(LARGEST_BODY + 1)) is None


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(TYPE)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["error", "details", "@type", "retryDelay", "seconds", "nanos"]), inner),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(json_values)
def test_no_json_raises(value):
    for body in (
        json.dumps({"RetryInfo": 0, "error": {"details": value}}),
        json.dumps(["RetryInfo", value]),
        json.dumps({"error": {"details": [{"@type": TYPE, "retryDelay": value}]}}),
    ):
        wait = retry_info(body.encode())
        assert wait is None or 0.0 <= wait <= LONGEST
