from __future__ import annotations

import time
from typing import Any

import pytest

from blueprint_clients.errors import CircuitBreakerOpen, SidecarUnreachable
from blueprint_clients.external_services.guard import Guard, Permit, Verdict, label
from blueprint_clients.external_services.outcomes import Outcome
from blueprint_clients.sidecar import Sidecar, sidecar_of
from support.sidecar import Said, ScriptedSidecar, refused


def guard(deadline: float | None = None, *, upstream: str = "reports", operation: str = "sum") -> Guard:
    sidecar = sidecar_of()
    assert sidecar is not None
    return Guard(sidecar, upstream, operation, deadline)


def test_a_permit_is_asked_for_with_what_is_left_of_the_deadline(scripted: ScriptedSidecar) -> None:
    assert guard(time.monotonic() + 10).permit(run="r", repeatable=False) == Permit("p1", 1)
    (asked,) = scripted.guard_traffic()
    assert 9 < asked.pop("timeout_s") <= 10
    assert asked == {"operation": "sum", "run": "r", "repeatable": False}


def test_a_deadline_that_has_passed_is_still_said_as_a_time(scripted: ScriptedSidecar) -> None:
    guard(time.monotonic() - 10).permit(run=None, repeatable=None)
    assert scripted.guard_traffic() == [{"operation": "sum", "timeout_s": 0.001}]


def test_no_deadline_is_not_said(scripted: ScriptedSidecar) -> None:
    guard().permit(run=None, repeatable=None)
    assert scripted.guard_traffic() == [{"operation": "sum"}]


def test_a_name_stays_one_segment_of_the_path(scripted: ScriptedSidecar) -> None:
    guard(upstream="a/../b").permit(run=None, repeatable=None)
    assert scripted.asked[0].path == "/v1/guard/a%2F..%2Fb"


def test_a_refused_permit_is_raised(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", "/v1/guard/reports", refused(503, "breaker_open"))
    with pytest.raises(CircuitBreakerOpen):
        guard().permit(run=None, repeatable=None)


@pytest.mark.parametrize("said", [{}, {"permit": ""}, {"permit": 5}, {"permit": "p", "attempt": "x"}])
def test_a_permit_without_a_name_is_no_sidecars(scripted: ScriptedSidecar, said: dict[str, object]) -> None:
    scripted.script("POST", "/v1/guard/reports", Said(200, said))
    with pytest.raises(SidecarUnreachable):
        guard().permit(run=None, repeatable=None)


def test_a_settlement_may_bring_the_next_permit(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", "/v1/guard/reports/p", Said(200, {"again": True, "permit": "q", "attempt": 2}))
    assert guard().settle(Permit("p", 1), Outcome("failure", 503)) == Verdict(Permit("q", 2), None)
    assert scripted.guard_traffic() == [{"outcome": "failure", "status": 503}]


def test_a_settlement_may_bring_the_reason_why_not(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", "/v1/guard/reports/p", Said(200, {"again": False, "reason": "attempts_exhausted"}))
    assert guard().settle(Permit("p", 1), Outcome("failure")) == Verdict(None, "attempts_exhausted")


@pytest.mark.parametrize("answer", [refused(410, "bad_request"), Said(silent=True), Said(200, {"again": True})])
def test_a_settlement_that_fails_repeats_nothing(scripted: ScriptedSidecar, answer: Said) -> None:
    scripted.script("POST", "/v1/guard/reports/p", answer)
    assert guard().settle(Permit("p", 1), Outcome("failure")).again is None


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("estimate_physics", "estimate_physics"),
        ("a b", "a_b"),
        ("größe\n", "gr__e_"),
        ("", "call"),
        ("x" * 100, "x" * 64),
    ],
)
def test_an_operations_name_is_made_one_that_the_sidecar_takes(said: str, taken: str) -> None:
    assert label(said) == taken


EXPIRED = Said(410, {"error": {"code": 410, "reason": "gone", "message": "no such permit is out"}})


@pytest.mark.parametrize(("left", "reason"), [(-1.0, "deadline_exceeded"), (60.0, None)])
def test_a_permit_that_has_expired_gives_no_reason_but_the_contracts(
    scripted: ScriptedSidecar, left: float, reason: str | None
) -> None:
    scripted.script("POST", "/v1/guard/reports/p", EXPIRED)
    assert guard(time.monotonic() + left).settle(Permit("p", 1), Outcome("failure")) == Verdict(None, reason)


@pytest.mark.parametrize(("kind", "patience"), [("success", 5.0), ("unknown", 5.0), ("rejected", 5.0), ("failure", 65)])
def test_only_an_outcome_that_may_be_repeated_is_waited_for_long(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch, kind: str, patience: float
) -> None:
    waited: list[float] = []
    ask = Sidecar.ask

    def noted(one: Sidecar, *said: Any, patience: float) -> dict[str, Any]:
        waited.append(patience)
        return ask(one, *said, patience=patience)

    job.setattr(Sidecar, "ask", noted)
    guard(time.monotonic() + 60).settle(Permit("p", 1), Outcome(kind))
    assert scripted.guard_traffic() == [{"outcome": kind}]
    assert waited == [pytest.approx(patience, abs=1)]
