"""Waits that an upstream asks for: Retry-After, retry-after-ms and google.rpc.RetryInfo. All results are seconds.

Every parser answers None for what it cannot read and never raises: the text comes from the network. A wait above seven
days becomes seven days and not None: an upstream that says "not this month" must not be asked again after a back-off,
as if it had said nothing; no deadline reaches that far, so the call fails at once.
"""

from __future__ import annotations

import calendar
import json
import re
from typing import Any

LONGEST = 7 * 86_400.0
"""Seconds; longer waits are cut to this."""
LARGEST_BODY = 256 * 1024
"""Bytes; a longer error body is not searched: parsing it would hold up every other call for milliseconds."""

_LONGEST_FIELD = 64
_NUMBER = re.compile(r"-?\d+(\.\d*)?", re.ASCII)
_DURATION = re.compile(r"(-?\d{1,18}(?:\.\d{1,9})?)s", re.ASCII)
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = (
    re.compile(rf"[A-Za-z]{{3}}, (?P<day>\d\d) (?P<month>[A-Za-z]{{3}}) (?P<year>\d{{4}}) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Za-z]{{6,9}}, (?P<day>\d\d)-(?P<month>[A-Za-z]{{3}})-(?P<year>\d\d) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Za-z]{{3}} (?P<month>[A-Za-z]{{3}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})", re.ASCII),
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_SECONDS_A_YEAR = 31_556_952.0
_RETRY_INFO = "google.rpc.RetryInfo"


def parse_retry_after(value: bytes | str, wall_now: float) -> float | None:
    """Read a Retry-After field: whole or fractional seconds, or any of the three forms of an HTTP date.

    `wall_now` is the wall clock in seconds since 1970, against which a date is taken. The past and negatives are 0.
    """
    text = _text(value)
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        return _clamped(float(text))
    moment = _http_date(text, wall_now)
    return None if moment is None else _clamped(moment - wall_now)


def parse_retry_after_ms(value: bytes | str) -> float | None:
    """Read a retry-after-ms field: milliseconds, whole or fractional. Negatives are 0."""
    text = _text(value)
    if text is None or not _NUMBER.fullmatch(text):
        return None
    return _clamped(float(text) / 1000.0)


def retry_info(body: bytes) -> float | None:
    """Find the RetryInfo of a JSON error body, bare or wrapped in an array; of several, the longest wait.

    retryDelay may be a protobuf duration ("26s", "36.5s") or an object of seconds and nanos.
    """
    if len(body) > LARGEST_BODY or b"RetryInfo" not in body:
        return None
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    longest: float | None = None
    for answer in parsed if isinstance(parsed, list) else (parsed,):
        for detail in _details(answer):
            wait = _retry_delay(detail)
            if wait is not None and (longest is None or wait > longest):
                longest = wait
    return longest


def _details(answer: Any) -> list[Any]:
    error = answer.get("error") if isinstance(answer, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return details if isinstance(details, list) else []


def _retry_delay(detail: Any) -> float | None:
    if not isinstance(detail, dict):
        return None
    kind = detail.get("@type")
    if not isinstance(kind, str) or kind.rpartition("/")[2] != _RETRY_INFO:
        return None
    delay = detail.get("retryDelay")
    if isinstance(delay, str):
        matched = _DURATION.fullmatch(delay)
        return _clamped(float(matched[1])) if matched else None
    if isinstance(delay, dict) and ("seconds" in delay or "nanos" in delay):
        seconds, nanos = _whole(delay.get("seconds", 0)), _whole(delay.get("nanos", 0))
        if seconds is not None and nanos is not None:
            return _clamped(seconds + nanos / 1e9)
    return None


def _whole(value: Any) -> float | None:
    """Read an integer, or the decimal string that protobuf's JSON makes of one; bounded before it becomes a float."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value, re.ASCII):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(max(-(10**19), min(10**19, value)))
    return None


def _text(value: bytes | str) -> str | None:
    if len(value) > _LONGEST_FIELD:
        return None
    return (value.decode("latin-1") if isinstance(value, bytes) else value).strip(" \t")


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST)


def _http_date(text: str, wall_now: float) -> float | None:
    for form in _DATES:
        matched = form.fullmatch(text)
        if matched:
            break
    else:
        return None
    month = _MONTHS.get(matched["month"])
    if month is None:
        return None
    year, day = int(matched["year"]), int(matched["day"])
    if len(matched["year"]) == 2:
        # RFC 9110 section 5.6.7: a two-digit year more than 50 years ahead is the past's.
        this_year = 1970 + int(wall_now / _SECONDS_A_YEAR)
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    hour, minute, second = int(matched["hour"]), int(matched["minute"]), int(matched["second"])
    if year == 0 or not 1 <= day <= calendar.monthrange(year, month)[1] or hour > 23 or minute > 59 or second > 60:
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))
