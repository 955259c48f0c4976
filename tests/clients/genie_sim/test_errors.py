from __future__ import annotations

import pickle

import pytest

from blueprint_clients import errors as reasons
from blueprint_clients.errors import BlueprintError, GenieSimAPIError
from blueprint_clients.genie_sim import errors


@pytest.mark.parametrize("reason", sorted(errors.BY_REASON))
def test_every_reason_is_a_genie_sim_error_and_the_class_of_its_reason(reason: str) -> None:
    error = errors.BY_REASON[reason]("no", method="reset", epoch=2)
    assert isinstance(error, GenieSimAPIError)
    assert isinstance(error, BlueprintError)
    assert error.reason == reason
    if reason != "sidecar_unreachable":
        assert isinstance(error, reasons.BY_REASON[reason])


def test_all_that_a_simulators_call_can_be_refused_for_has_a_class() -> None:
    elsewhere = {"budget_spent", "journal_miss", "quota_exhausted", "verification_failed", "loop"}
    assert set(reasons.BY_REASON) - set(errors.BY_REASON) == elsewhere


def test_times_and_connections_are_the_builtin_errors_too() -> None:
    assert issubclass(errors.CallTimedOut, TimeoutError)
    assert issubclass(errors.SimulatorUnreachable, ConnectionError)


def test_an_error_goes_to_another_process_without_the_librarys_own() -> None:
    error = errors.EpochChanged("gone", method="reset", epoch=3, code="FAILED_PRECONDITION", retry_after=1.5)
    error.__cause__ = ValueError("a call of this process")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.EpochChanged
    assert (str(copy), copy.method, copy.epoch, copy.code, copy.retry_after) == (
        "gone", "reset", 3, "FAILED_PRECONDITION", 1.5,
    )  # fmt: skip
    assert copy.__cause__ is None


def test_a_refusal_of_the_admin_listener_becomes_the_class_of_its_reason() -> None:
    error = errors.as_genie_sims(reasons.Forbidden("no", status=403, request_id="r"), "reset")
    assert type(error) is errors.Forbidden
    assert (error.method, error.status, error.request_id) == ("reset", 403, "r")
    other = errors.as_genie_sims(BlueprintError("no", reason="new_in_a_later_release"))
    assert type(other) is errors.GenieSimCallError
    assert other.reason == "new_in_a_later_release"
