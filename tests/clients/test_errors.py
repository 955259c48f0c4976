from __future__ import annotations

import ast
import json
import pickle
from pathlib import Path

import pytest

from blueprint_clients import errors
from blueprint_clients.errors import BY_REASON, BlueprintError, CircuitBreakerOpen, DeadlineExceeded, refusal

PROXY_ERRORS = Path(__file__).resolve().parents[2] / "proxy" / "blueprint_proxy" / "errors.py"


def reasons_of_the_contract() -> set[str]:
    """The values of the proxy's Reason, read and not imported: the clients' tests run without the proxy."""
    tree = ast.parse(PROXY_ERRORS.read_text(encoding="utf-8"))
    (reason,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Reason")
    return {node.value.value for node in reason.body if isinstance(node, ast.Assign)}


def test_every_reason_of_the_contract_has_a_class_and_no_class_is_without_one() -> None:
    assert set(BY_REASON) == reasons_of_the_contract()
    assert len(set(BY_REASON.values())) == len(BY_REASON)
    kinds = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, BlueprintError)}
    assert kinds - set(BY_REASON.values()) == {BlueprintError, errors.SidecarUnreachable}


def test_a_refusal_is_read_from_fields_and_body() -> None:
    body = json.dumps({"error": {"message": "resting", "retry_after_s": 1.25, "upstream": "gemini"}}).encode()
    headers = {
        "x-blueprint-error": "breaker_open", "retry-after": "2", "x-request-id": "abc", "x-blueprint-attempts": "3",
        "x-blueprint-not-sent": "true", "x-blueprint-upstream": "gemini",
    }  # fmt: skip
    error = refusal(503, headers, body)
    assert type(error) is CircuitBreakerOpen
    assert str(error) == "resting"
    assert (error.reason, error.status, error.upstream, error.request_id) == ("breaker_open", 503, "gemini", "abc")
    assert (error.retry_after, error.attempts, error.not_sent, error.maybe_executed) == (1.25, 3, True, False)


def test_the_reason_may_stand_in_the_body_alone() -> None:
    error = refusal(403, {}, b'{"error": {"code": 403, "reason": "forbidden", "message": "no"}}')
    assert type(error) is errors.Forbidden


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "x"}', b'{"error": {"message": 1}}', b"\xff"])
def test_a_refusal_without_words_is_one_all_the_same(body: bytes) -> None:
    error = refusal(500, {"retry-after": "soon", "x-blueprint-attempts": "many"}, body)
    assert type(error) is BlueprintError
    assert (error.status, error.retry_after, error.attempts) == (500, None, 0)


def test_an_unknown_reason_is_kept_on_the_plain_error() -> None:
    error = refusal(409, {}, b'{"error": {"reason": "conflict", "message": "held"}}')
    assert type(error) is BlueprintError
    assert error.reason == "conflict"


def test_a_deadline_is_also_a_timeout_and_an_unreachable_service_a_lost_connection() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(errors.UpstreamUnreachable, ConnectionError)
    assert issubclass(errors.SidecarUnreachable, ConnectionError)
    assert str(DeadlineExceeded("too late")) == "too late"


@pytest.mark.parametrize("kind", [*BY_REASON.values(), BlueprintError, errors.SidecarUnreachable])
def test_an_error_crosses_to_another_process_whole(kind: type[BlueprintError]) -> None:
    error = kind("why", status=503, upstream="u", retry_after=1.5, not_sent=True, attempts=2)
    error.__cause__ = ValueError("inner")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert {**vars(again)} == {**vars(error)}
    assert repr(again.__cause__) == repr(error.__cause__)
