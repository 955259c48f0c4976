from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from blueprint_clients.genie_sim import errors
from blueprint_clients.genie_sim.answers import Answered, answer_of, attempts_of, epoch_of, error_of, words_of
from blueprint_clients.genie_sim.messages import load


class Failure:
    """A grpc.RpcError, as far as it is read."""

    def __init__(self, code: str, details: str | None = "", **words: str) -> None:
        self._code = code
        self._details = details
        self._trailing = tuple((f"x-blueprint-{word.replace('_', '-')}", said) for word, said in words.items())

    def code(self) -> Any:
        return SimpleNamespace(name=self._code)

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailing or None


def through(code: str, details: str = "said", **words: str) -> errors.GenieSimCallError:
    return error_of("reset", Failure(code, details, **words), through=True)


def straight(code: str, details: str | None = "said") -> errors.GenieSimCallError:
    return error_of("reset", Failure(code, details), through=False)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("epoch_changed", errors.EpochChanged),
        ("not_initialised", errors.NotInitialised),
        ("hung", errors.SimulatorHung),
        ("maybe_executed", errors.MaybeExecuted),
        ("quarantined", errors.Quarantined),
        ("overloaded", errors.Overloaded),
        ("deadline_exceeded", errors.CallTimedOut),
        ("new_in_a_later_release", errors.GenieSimCallError),
    ],
)
def test_the_sidecars_reason_decides(reason: str, kind: type[errors.GenieSimCallError]) -> None:
    error = through("UNAVAILABLE", error=reason, source="proxy")
    assert type(error) is kind
    assert error.reason == reason


def test_everything_that_the_sidecar_says_is_kept() -> None:
    failure = Failure("UNAVAILABLE", "why", error="hung", not_sent="true", epoch="3", attempts="2", upstream="sim")
    failure._trailing += (("retry-after", "7"), ("x-request-id", "r1"), ("x-other-bin", b"\x00"))
    error = error_of("reset", failure, through=True)
    assert str(error) == "reset: why"
    assert (error.not_sent, error.maybe_executed, error.epoch, error.attempts) == (True, False, 3, 2)
    assert (error.upstream, error.retry_after, error.request_id, error.code) == ("sim", 7.0, "r1", "UNAVAILABLE")
    assert error.method == "reset"


@pytest.mark.parametrize("epoch", ["", "x", "-1", "²"])
def test_an_epoch_that_is_no_number_is_none(epoch: str) -> None:
    assert epoch_of({"x-blueprint-epoch": epoch}) is None
    assert attempts_of({"x-blueprint-attempts": epoch}) == 0


def test_the_simulators_own_failure_is_its_own_also_through_the_sidecar() -> None:
    error = through("UNKNOWN", "Exception calling application", source="upstream", attempts="1")
    assert type(error) is errors.CallFailed
    assert (error.code, error.attempts) == ("UNKNOWN", 1)


def test_a_failure_that_passed_as_it_came_may_have_executed() -> None:
    error = through("UNAVAILABLE", source="upstream", maybe_executed="true")
    assert type(error) is errors.MaybeExecuted


def test_an_error_inside_of_an_ok_that_the_sidecar_made_a_status_is_still_one() -> None:
    error = through("FAILED_PRECONDITION", "ERROR: no", app_error="ERROR: no", source="upstream")
    assert type(error) is errors.AppError
    assert error.answer is None


@pytest.mark.parametrize(
    "details", ["failed to connect to all addresses; last error: x", "DNS resolution failed for x"]
)
def test_a_call_without_a_connection_was_not_sent(details: str) -> None:
    error = straight("UNAVAILABLE", details)
    assert type(error) is errors.SimulatorUnreachable
    assert (error.not_sent, error.maybe_executed, error.attempts) == (True, False, 0)
    assert type(error_of("reset", Failure("UNAVAILABLE", details), through=True)) is errors.SidecarGone


@pytest.mark.parametrize("details", ["Stream removed (Socket closed)", "Connection reset by peer", "anything else"])
@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
def test_a_connection_that_broke_may_have_carried_the_call(code: str, details: str) -> None:
    error = straight(code, details)
    assert type(error) is errors.MaybeExecuted
    assert error.maybe_executed
    assert type(through(code, details)) is errors.MaybeExecuted


def test_a_stream_that_was_refused_was_not_looked_at() -> None:
    error = straight("UNAVAILABLE", "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))")
    assert type(error) is errors.SimulatorUnreachable
    assert error.not_sent


def test_a_deadline_that_passed_may_have_executed() -> None:
    error = straight("DEADLINE_EXCEEDED", None)
    assert type(error) is errors.CallTimedOut
    assert error.maybe_executed
    assert str(error) == "reset: DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("details", "not_sent"),
    [
        ("CLIENT: Sent message larger than max (5 vs. 4)", True),
        ("CLIENT: Received message larger than max (5 vs. 4)", False),
        ("SERVER: Sent message larger than max (5 vs. 4)", False),
    ],
)
def test_a_message_over_a_limit_is_told_apart(details: str, not_sent: bool) -> None:
    error = straight("RESOURCE_EXHAUSTED", details)
    assert type(error) is errors.MessageTooLarge
    assert error.not_sent is not_sent


def read(method: str, words: dict[str, str] | None = None, **fields: Any) -> Any:
    known = load().methods[method]
    return answer_of(known, Answered(known.response(**fields).SerializeToString(), words or {}))


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("reset", {"msg": "ERROR: no robot"}),
        ("exit", {"msg": "error: busy"}),
        ("linear_move", {"errmsg": "ERROR: no plan"}),
        ("get_observation", {"recordingState": "ERROR: disk"}),
    ],
)
def test_an_error_inside_of_an_ok_is_an_error_without_a_sidecars_word(method: str, fields: dict[str, str]) -> None:
    with pytest.raises(errors.AppError, match=next(iter(fields.values()))) as caught:
        read(method, **fields)
    assert caught.value.answer is not None
    assert caught.value.method == method


def test_the_sidecars_word_on_an_error_counts_where_the_answer_has_no_field_for_it() -> None:
    with pytest.raises(errors.AppError, match="ERROR: x") as caught:
        read("get_joint_position", {"x-blueprint-app-error": "ERROR: x", "x-blueprint-epoch": "4"})
    assert caught.value.epoch == 4


@pytest.mark.parametrize("text", ["success", "", "False", "no error", "Error"])
def test_any_other_text_is_an_answer(text: str) -> None:
    assert read("init_robot", msg=text).msg == text


def test_an_answer_that_cannot_be_read_is_a_failed_call() -> None:
    with pytest.raises(errors.CallFailed, match="GetJointRsp"):
        answer_of(load().methods["get_joint_position"], Answered(b"\xff", {}))


def test_of_several_values_the_last_counts_and_nothing_is_no_words() -> None:
    assert words_of((("a", "1"), ("a", "2"), ("b-bin", b"\x00"))) == {"a": "2"}
    assert words_of(None) == {}
