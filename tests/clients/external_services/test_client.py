from __future__ import annotations

import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from blueprint_clients.errors import BadRequest, DeadlineExceeded, Forbidden, UnknownUpstream
from blueprint_clients.external_services import CircuitBreakerOpen, ServiceClient, ServiceClientConfig
from blueprint_clients.external_services.calls import CURRENT
from support.sidecar import Said, ScriptedSidecar, refused

PERMIT = "/v1/guard/reports"


class Reply:
    def __init__(self, status_code: int, headers: dict[str, str] | None = None, content: bytes = b"") -> None:
        self.status_code = status_code
        self.headers = headers or {}
        self.content = content


class Script:
    """A function that plays what it is given, one a run."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.runs = 0

    def __call__(self) -> Any:
        end = self.ends[min(self.runs, len(self.ends) - 1)]
        self.runs += 1
        if isinstance(end, BaseException):
            raise end
        return end


def client(**settings: Any) -> ServiceClient:
    return ServiceClient(ServiceClientConfig("reports", **settings))


def test_a_function_runs_under_a_permit_that_is_settled_with_its_success(scripted: ScriptedSidecar) -> None:
    assert client().call(lambda: 42, timeout=30.0, operation_name="sum") == 42
    asked, settled = scripted.guard_traffic()
    assert asked["operation"] == "sum"
    assert 29 < asked["timeout_s"] <= 30
    assert "run" not in asked
    assert "repeatable" not in asked
    assert settled == {"outcome": "success"}
    assert [one.path for one in scripted.asked if "/guard/" in one.path] == [PERMIT, f"{PERMIT}/p1"]


def test_the_name_alone_makes_a_client(scripted: ScriptedSidecar) -> None:
    assert ServiceClient("reports").call(lambda: "x") == "x"
    assert scripted.of("POST", PERMIT)


def test_the_run_and_the_repeatability_are_said(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_RUN", "abc")
    client(repeatable=True).call(lambda: 1)
    assert scripted.guard_traffic()[0]["run"] == "abc"
    assert scripted.guard_traffic()[0]["repeatable"] is True


def test_a_failed_answer_is_repeated_when_the_sidecar_says_again(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", f"{PERMIT}/p1", scripted.again(2))
    function = Script(Reply(503, {"Retry-After": "2"}), Reply(200))
    assert client().call(function).status_code == 200
    assert function.runs == 2
    assert scripted.guard_traffic()[1] == {"outcome": "failure", "status": 503, "retry_after_s": 2.0}
    assert scripted.guard_traffic()[2] == {"outcome": "success", "status": 200}


def test_a_throttled_answer_is_told_with_its_hint(scripted: ScriptedSidecar) -> None:
    assert client().call(lambda: Reply(429, {"retry-after": "7"})).status_code == 429
    assert scripted.guard_traffic()[1] == {"outcome": "throttled", "status": 429, "retry_after_s": 7.0}


def test_an_answer_that_is_the_callers_fault_is_told_as_such_and_returned(scripted: ScriptedSidecar) -> None:
    assert client().call(lambda: Reply(404)).status_code == 404
    assert scripted.guard_traffic()[1] == {"outcome": "rejected", "status": 404}


def test_the_last_real_exception_is_raised_when_the_sidecar_gives_up(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", f"{PERMIT}/p1", scripted.again(2))
    scripted.script("POST", f"{PERMIT}/p2", Said(200, {"again": False, "reason": "attempts_exhausted"}))
    first, last = ConnectionResetError("one"), ConnectionResetError("two")
    with pytest.raises(ConnectionResetError) as raised:
        client().call(Script(first, last), operation_name="sum")
    assert raised.value is last
    account = raised.value.blueprint
    assert (account.upstream, account.operation, account.way) == ("reports", "sum", "guarded")
    assert (account.attempts, account.reason) == (2, "attempts_exhausted")


def test_the_last_real_answer_is_returned_with_an_account(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", f"{PERMIT}/p1", Said(200, {"again": False, "reason": "attempts_exhausted"}))
    answer = client().call(lambda: Reply(500))
    assert answer.status_code == 500
    assert answer.blueprint.reason == "attempts_exhausted"


def test_a_functions_own_error_is_never_repeated(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", f"{PERMIT}/p1", scripted.again(2))  # a sidecar that would
    function = Script(ValueError("mine"), 1)
    with pytest.raises(ValueError, match="mine"):
        client().call(function)
    assert function.runs == 1
    assert scripted.guard_traffic()[1]["outcome"] == "unknown"


def test_the_text_of_an_exception_stays_in_the_job(scripted: ScriptedSidecar) -> None:
    with pytest.raises(ConnectionResetError):
        client().call(Script(ConnectionResetError("https://x/?key=secret")))
    assert "secret" not in str(scripted.guard_traffic())


def test_a_function_that_is_interrupted_gives_its_permit_back(scripted: ScriptedSidecar) -> None:
    one = client()
    with pytest.raises(KeyboardInterrupt):
        one.call(Script(KeyboardInterrupt()))
    assert scripted.guard_traffic()[1] == {"outcome": "unknown", "message": "KeyboardInterrupt"}
    assert one.get_stats()["call_count"] == 1


def test_an_open_breaker_is_its_own_exception_and_the_function_is_not_run(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", PERMIT, refused(503, "breaker_open", retry_after="4", x_blueprint_not_sent="true"))
    function, one = Script(1), client()
    with pytest.raises(CircuitBreakerOpen) as raised:
        one.call(function)
    assert function.runs == 0
    assert raised.value.retry_after == 4
    assert raised.value.not_sent
    assert one.get_stats()["circuit_breaker"] == {"state": "open", "retry_after_s": 4.0}


def test_a_permit_that_comes_too_late_is_a_timeout(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", PERMIT, refused(504, "deadline_exceeded"))
    with pytest.raises(TimeoutError) as raised:
        client().call(lambda: 1)
    assert isinstance(raised.value, DeadlineExceeded)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [(404, "unknown_upstream", UnknownUpstream), (403, "forbidden", Forbidden), (400, "bad_request", BadRequest)],
)
def test_what_the_sidecar_refuses_is_raised(
    scripted: ScriptedSidecar, status: int, reason: str, kind: type[Exception]
) -> None:
    scripted.script("POST", PERMIT, refused(status, reason))
    with pytest.raises(kind):
        client().call(lambda: 1)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_in_which_nothing_can_happen_is_an_error(timeout: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        client().call(lambda: 1, timeout=timeout)


def test_a_late_success_is_a_success_and_counted_as_an_overrun(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    late = threading.Event()
    job.setattr("blueprint_clients.external_services.statistics.time.monotonic", lambda: now + 99 * late.is_set())
    one = client()

    def function() -> str:
        late.set()
        return "late"

    assert one.call(function, timeout=5.0) == "late"
    assert one.get_stats()["overrun_count"] == 1
    assert one.get_stats()["success_count"] == 1
    assert len(scripted.of("POST", PERMIT)) == 1


def test_the_statistics_add_up(scripted: ScriptedSidecar) -> None:
    one = client()
    assert one.get_stats()["success_rate"] == 1.0
    one.call(lambda: 1)
    one.call(lambda: Reply(500))
    with pytest.raises(ValueError, match="mine"):
        one.call(Script(ValueError("mine")))
    scripted.script("POST", PERMIT, refused(503, "breaker_open"))
    with pytest.raises(CircuitBreakerOpen):
        one.call(lambda: 1)
    told = one.get_stats()
    assert told["service_name"] == "reports"
    assert (told["call_count"], told["success_count"], told["error_count"]) == (4, 1, 3)
    assert told["success_rate"] == 0.25
    assert told["refused_count"] == 1
    assert told["guarded_count"] == 4
    assert told["attempt_count"] == 3


def test_a_settlement_that_the_sidecar_no_longer_knows_changes_nothing(scripted: ScriptedSidecar) -> None:
    gone = Said(410, {"error": {"code": 410, "reason": "bad_request", "message": "expired"}})
    scripted.script("POST", f"{PERMIT}/p1", gone)
    assert client().call(lambda: 1) == 1


def test_a_sidecar_that_dies_during_the_function_does_not_lose_its_result(
    scripted: ScriptedSidecar, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.script("POST", f"{PERMIT}/p1", Said(silent=True))
    assert client().call(lambda: 1) == 1
    assert "could not be told" in caplog.text


def test_without_a_sidecar_functions_run_unguarded_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    one = client()
    assert one.call(lambda: 1) == 1
    assert one.call(lambda: Reply(503)).status_code == 503
    assert one.get_stats()["unguarded_count"] == 2
    assert one.get_stats()["error_count"] == 1
    assert caplog.text.count("no sidecar") == 1


def test_switched_off_functions_run_unguarded_and_it_is_said_once(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job.setenv("BLUEPRINT_PROXY", "off")
    assert client().call(lambda: 1) == 1
    assert client().call(lambda: 2) == 2
    assert scripted.asked == []
    assert caplog.text.count("BLUEPRINT_PROXY=off") == 1


def test_something_else_at_the_sidecars_address_does_not_stop_the_job(
    scripted: ScriptedSidecar, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.script("POST", PERMIT, Said(404, "no such page"))
    assert client().call(lambda: 1) == 1
    assert "is no sidecar" in caplog.text


def test_a_call_inside_a_call_runs_under_the_outer_permit(scripted: ScriptedSidecar) -> None:
    one = client()
    assert one.call(lambda: one.call(lambda: 1)) == 1
    assert len(scripted.of("POST", PERMIT)) == 1


def test_a_call_to_another_service_inside_a_call_has_a_permit_of_its_own(scripted: ScriptedSidecar) -> None:
    other = ServiceClient("other")
    client().call(lambda: other.call(lambda: 1))
    assert len(scripted.of("POST", PERMIT)) == len(scripted.of("POST", "/v1/guard/other")) == 1


def test_a_client_whose_functions_go_through_asks_for_no_permit(scripted: ScriptedSidecar) -> None:
    one = client(through=True)
    assert one.call(lambda: Reply(200)).status_code == 200
    assert scripted.guard_traffic() == []
    assert one.get_stats()["through_count"] == 1


def test_an_answer_that_came_through_the_sidecar_ends_the_guarding(scripted: ScriptedSidecar) -> None:
    one = client()
    for _ in range(3):
        one.call(lambda: Reply(200, {"X-Blueprint-Source": "upstream", "X-Blueprint-Attempts": "1"}))
    assert len(scripted.of("POST", PERMIT)) == 1
    assert one.get_stats()["through_count"] == 2


def test_an_answer_that_came_around_the_sidecar_begins_the_guarding(scripted: ScriptedSidecar) -> None:
    one = client()
    one._learned = True
    for _ in range(3):
        one.call(lambda: Reply(200, {"Server": "x"}))
    assert len(scripted.of("POST", PERMIT)) == 2


def test_a_result_that_only_looks_a_little_like_an_answer_teaches_nothing(scripted: ScriptedSidecar) -> None:
    table = SimpleNamespace(headers={"mass": "kg"})
    one = client()
    one._learned = True
    for _ in range(2):
        one.call(lambda: table)
    assert scripted.guard_traffic() == []


def test_what_is_set_is_not_learned_away(scripted: ScriptedSidecar, caplog: pytest.LogCaptureFixture) -> None:
    one = client(through=False)
    for _ in range(2):
        one.call(lambda: Reply(200, {"x-blueprint-source": "upstream"}))
    assert len(scripted.of("POST", PERMIT)) == 2
    assert caplog.records == []


def test_a_refusal_that_an_answer_brings_through_is_raised_and_never_repeated(scripted: ScriptedSidecar) -> None:
    headers = {"x-blueprint-source": "proxy", "x-blueprint-error": "breaker_open", "retry-after": "3"}
    function = Script(Reply(503, headers, b'{"error": {"message": "resting", "retry_after_s": 2.5}}'))
    one = client(through=True)
    with pytest.raises(CircuitBreakerOpen, match="resting") as raised:
        one.call(function)
    assert raised.value.retry_after == 2.5
    assert function.runs == 1
    assert one.get_stats()["refused_count"] == 1


def test_a_refusal_that_an_exception_brings_through_is_raised_in_its_place(scripted: ScriptedSidecar) -> None:
    class ServiceUnavailable(Exception):
        code = 503
        response = Reply(503, {"x-blueprint-source": "proxy", "x-blueprint-error": "breaker_open"}, b"{}")

    with pytest.raises(CircuitBreakerOpen) as raised:
        client(through=True).call(Script(ServiceUnavailable()))
    assert isinstance(raised.value.__cause__, ServiceUnavailable)


def test_a_real_answer_of_exhausted_attempts_is_returned_as_it_came(scripted: ScriptedSidecar) -> None:
    headers = {
        "x-blueprint-source": "upstream", "x-blueprint-error": "attempts_exhausted", "x-blueprint-attempts": "3",
        "x-request-id": "abc",
    }  # fmt: skip
    answer = client(through=True).call(lambda: Reply(503, headers))
    assert answer.blueprint.attempts == 3
    assert answer.blueprint.reason == "attempts_exhausted"
    assert answer.blueprint.request_id == "abc"


def test_the_deadline_is_known_inside_the_function(scripted: ScriptedSidecar) -> None:
    left = client().call(lambda: CURRENT.get().left(), timeout=5.0)
    assert left is not None
    assert 0 < left <= 5
    assert CURRENT.get().left() is None


def test_a_client_keeps_to_its_pace_before_it_asks(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    job.setattr("blueprint_clients.external_services.rate_limiter.time.sleep", waits.append)
    one = client(rate_limit_enabled=True, calls_per_second=1.0)
    one.call(lambda: 1)
    one.call(lambda: 1)
    assert len(waits) == 1
    assert 0 < waits[0] <= 1


def test_threads_share_a_client(scripted: ScriptedSidecar) -> None:
    one = client()
    together = threading.Barrier(8)

    def work() -> None:
        together.wait(10)
        for _ in range(10):
            one.call(lambda: 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert one.get_stats()["success_count"] == 80
    permits = [one.path.rpartition("/")[2] for one in scripted.asked if one.path.count("/") == 4]
    assert len(permits) == len(set(permits)) == 80


def test_the_fields_for_own_requests_carry_the_token(job: pytest.MonkeyPatch) -> None:
    assert client().headers() == {}
    job.setenv("BLUEPRINT_PROXY_TOKEN", "t")
    assert client().headers() == {"x-blueprint-token": "t"}


async def asynchronous() -> str:
    return "never run"


@pytest.mark.parametrize("function", [asynchronous, partial(asynchronous)])
def test_an_asynchronous_function_is_named_as_what_cannot_be_called(scripted: ScriptedSidecar, function: Any) -> None:
    with pytest.raises(TypeError, match="asynchronous is asynchronous"):
        client().call(function)
    assert scripted.guard_traffic()[1]["outcome"] == "unknown"


def test_a_generator_is_handed_back_and_said_to_be_unguarded(
    scripted: ScriptedSidecar, caplog: pytest.LogCaptureFixture
) -> None:
    one = client()
    assert list(one.call(lambda: (part for part in "ab"))) == ["a", "b"]
    one.call(lambda: (part for part in "ab"))
    assert scripted.guard_traffic()[1] == {"outcome": "success"}
    assert caplog.text.count("what it does when it is read is not guarded") == 1
