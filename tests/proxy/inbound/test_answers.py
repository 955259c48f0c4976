"""Answers: every refusal has a status, a shape and its fields."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from blueprint_proxy.errors import STATUSES, Reason, Refusal
from blueprint_proxy.inbound.answers import PHRASES, answer

CONTRACT = {
    "bad_request": (400, "INVALID_ARGUMENT"),
    "unauthenticated": (401, "UNAUTHENTICATED"),
    "budget_spent": (402, "RESOURCE_EXHAUSTED"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "unknown_upstream": (404, "UNIMPLEMENTED"),
    "journal_miss": (404, "NOT_FOUND"),
    "too_large": (413, "RESOURCE_EXHAUSTED"),
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "quota_exhausted": (429, "RESOURCE_EXHAUSTED"),
    "attempts_exhausted": (502, "UNAVAILABLE"),
    "upstream_unreachable": (502, "UNAVAILABLE"),
    "upstream_truncated": (502, "UNAVAILABLE"),
    "verification_failed": (502, "DATA_LOSS"),
    "breaker_open": (503, "UNAVAILABLE"),
    "draining": (503, "UNAVAILABLE"),
    "overloaded": (503, "UNAVAILABLE"),
    "not_initialised": (503, "FAILED_PRECONDITION"),
    "epoch_changed": (503, "FAILED_PRECONDITION"),
    "quarantined": (503, "FAILED_PRECONDITION"),
    "hung": (503, "UNAVAILABLE"),
    "maybe_executed": (503, "UNKNOWN"),
    "deadline_exceeded": (504, "DEADLINE_EXCEEDED"),
    "loop": (508, "FAILED_PRECONDITION"),
}


def fields_of(refusal: Refusal, *, upstream: str = "gcs") -> dict[bytes, bytes]:
    pairs = list(answer(refusal, upstream=upstream, request_id="id-1")[2])
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def error_of(refusal: Refusal, *, upstream: str = "gcs") -> dict[str, Any]:
    body = json.loads(answer(refusal, upstream=upstream, request_id="id-1")[3])
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_the_contracts_status(reason: Reason) -> None:
    status, _, fields, body = answer(Refusal(reason, "no"), upstream="gcs", request_id="id-1")
    error = json.loads(body)["error"]
    assert (status, error["status"]) == (error["code"], STATUSES[reason][1]) == CONTRACT[reason]
    assert fields.get(b"x-blueprint-error") == error["reason"].encode() == reason.value.encode()


@pytest.mark.parametrize(
    "status", sorted({status for status, _ in STATUSES.values()} | {405, 408, 414, 417, 421, 431, 505})
)
def test_every_status_has_a_phrase(status: int) -> None:
    phrase = answer(Refusal(Reason.BAD_REQUEST, "no", status=status), upstream="", request_id="id-1")[1]
    assert phrase == PHRASES[status]
    assert re.fullmatch(rb"[A-Z][A-Za-z ]+", phrase)


def test_a_status_of_its_own_stands_in_the_head_and_the_body() -> None:
    refusal = Refusal(Reason.BAD_REQUEST, "no", status=421)
    assert answer(refusal, upstream="", request_id="id-1")[0] == error_of(refusal)["code"] == 421


def test_the_body_is_an_error_as_googles_apis_write_it() -> None:
    assert error_of(Refusal(Reason.BREAKER_OPEN, "not now", retry_after=1.25)) == {
        "code": 503,
        "status": "UNAVAILABLE",
        "message": "blueprint-proxy: not now",
        "reason": "breaker_open",
        "upstream": "gcs",
        "request_id": "id-1",
        "retry_after_s": 1.25,
    }


def test_the_fields_say_who_answered() -> None:
    assert fields_of(Refusal(Reason.BREAKER_OPEN, "not now", attempts=3)) == {
        b"content-type": b"application/json; charset=utf-8",
        b"x-blueprint-error": b"breaker_open",
        b"x-blueprint-source": b"proxy",
        b"x-blueprint-attempts": b"3",
        b"x-request-id": b"id-1",
        b"x-blueprint-upstream": b"gcs",
    }


def test_without_an_upstream_none_is_named() -> None:
    refusal = Refusal(Reason.BAD_REQUEST, "no")
    assert b"x-blueprint-upstream" not in fields_of(refusal, upstream="")
    assert error_of(refusal, upstream="")["upstream"] == ""


def test_a_refusals_own_fields_are_added() -> None:
    refusal = Refusal(Reason.BAD_REQUEST, "no", headers=((b"allow", b"GET"),))
    assert fields_of(refusal)[b"allow"] == b"GET"


@pytest.mark.parametrize(
    ("sent", "said"),
    [(False, {b"x-blueprint-not-sent"}), (True, {b"x-blueprint-maybe-executed"}), (None, set())],
)
def test_whether_it_was_sent_is_said_where_it_is_known(sent: bool | None, said: set[bytes]) -> None:
    fields = fields_of(Refusal(Reason.UPSTREAM_UNREACHABLE, "no", sent=sent))
    known = {b"x-blueprint-not-sent", b"x-blueprint-maybe-executed"}
    assert {name: value for name, value in fields.items() if name in known} == dict.fromkeys(said, b"true")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, b"0"), (0.001, b"1"), (1, b"1"), (1.2, b"2"), (59.999, b"60"), (-0.5, b"0"), (-3, b"0")],
)
def test_retry_after_is_a_whole_number_rounded_up(seconds: float, written: bytes) -> None:
    assert fields_of(Refusal(Reason.RATE_LIMITED, "no", retry_after=seconds))[b"retry-after"] == written


def test_without_a_time_to_wait_none_is_given() -> None:
    refusal = Refusal(Reason.RATE_LIMITED, "no")
    assert b"retry-after" not in fields_of(refusal)
    assert "retry_after_s" not in error_of(refusal)


def test_a_message_cannot_break_out_of_the_body() -> None:
    message = 'a "quoted"\r\n\x00 name of \xe4'
    assert error_of(Refusal(Reason.BAD_REQUEST, message))["message"] == f"blueprint-proxy: {message}"
