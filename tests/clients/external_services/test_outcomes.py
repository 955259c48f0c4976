"""The exceptions here are built as the libraries build them, with their names, modules and causes."""

from __future__ import annotations

import socket
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from blueprint_clients.errors import CircuitBreakerOpen
from blueprint_clients.external_services.outcomes import Outcome, headers_of, of_exception, of_result, status_of


def kind(module: str, name: str, *bases: type) -> Any:
    return type(name, bases or (Exception,), {"__module__": module})


def made(path: str, *arguments: Any, base: type = Exception, **attributes: Any) -> Any:
    module, _, name = path.rpartition(".")
    error = kind(module, name, base)(*arguments)
    vars(error).update(attributes)
    return error


def answer(status: int, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize("result", [None, 1, "x", {"status_code": 500}, [], SimpleNamespace(status="ok", headers={})])
def test_what_is_no_http_answer_is_a_success(result: object) -> None:
    assert of_result(result) == Outcome("success")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "success"), (302, "success"), (400, "rejected"), (401, "rejected"), (404, "rejected"), (408, "failure"),
     (429, "throttled"), (500, "failure"), (503, "failure")],
)  # fmt: skip
def test_an_answer_is_judged_by_its_status(status: int, outcome: str) -> None:
    judged = of_result(answer(status))
    assert (judged.kind, judged.status) == (outcome, status)


def test_urllibs_answer_has_its_status_elsewhere() -> None:
    assert status_of(SimpleNamespace(status=503, headers={})) == 503
    assert status_of(SimpleNamespace(status=503)) is None


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert of_result(answer(429, Retry_After="1.5")).retry_after == 1.5
    dated = of_result(answer(503, Retry_After=formatdate(4_000_000_000))).retry_after
    assert dated is not None
    assert dated > 1e6
    assert of_result(answer(503, Retry_After=formatdate(0))).retry_after == 0
    assert of_result(answer(503, Retry_After="soon")).retry_after is None


def test_an_exception_with_an_answer_is_judged_by_it() -> None:
    error = made("requests.exceptions.HTTPError", response=answer(503, Retry_After="3"))
    assert of_exception(error) == Outcome("failure", 503, 3.0, None, "HTTPError")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (made("google.api_core.exceptions.ResourceExhausted", code=429), "throttled"),
        (made("google.api_core.exceptions.NotFound", code=404), "rejected"),
        (made("google.genai.errors.ServerError", code=503, status="UNAVAILABLE"), "failure"),
        (made("urllib.error.HTTPError", code=500), "failure"),
        (made("aiohttp.client_exceptions.ClientResponseError", status=502), "failure"),
        (made("httpx.HTTPStatusError", response=answer(401)), "rejected"),
        (made("grpc._channel._InactiveRpcError", code=lambda: SimpleNamespace(name="UNAVAILABLE")), "failure"),
        (made("grpc._channel._InactiveRpcError", code=lambda: SimpleNamespace(name="RESOURCE_EXHAUSTED")), "throttled"),
        (made("grpc.aio.AioRpcError", code=lambda: SimpleNamespace(name="NOT_FOUND")), "rejected"),
    ],
)
def test_each_library_says_its_status_in_its_own_place(error: Exception, outcome: str) -> None:
    assert of_exception(error).kind == outcome


def test_googles_own_hint_is_found_in_what_its_clients_keep() -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26.5s"}
    for details in ({"error": {"details": [{"a": 1}, detail]}}, [detail]):
        error = made("google.genai.errors.ClientError", code=429, details=details)
        assert of_exception(error).retry_after == 26.5
    delay = SimpleNamespace(retry_delay=SimpleNamespace(seconds=3, nanos=500_000_000))
    assert (
        of_exception(made("google.api_core.exceptions.TooManyRequests", code=429, details=[delay])).retry_after == 3.5
    )


def test_googles_retries_are_judged_by_the_last_failure() -> None:
    inner = made("google.api_core.exceptions.ServiceUnavailable", code=503)
    assert of_exception(made("google.api_core.exceptions.RetryError", cause=inner)).status == 503


def requests_error(inner: Exception) -> Exception:
    """`requests` wraps urllib3's MaxRetryError, whose reason is the cause."""
    wrapped = made("urllib3.exceptions.MaxRetryError", reason=inner)
    return made("requests.exceptions.ConnectionError", wrapped, base=OSError)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        socket.gaierror(),
        requests_error(made("urllib3.exceptions.NewConnectionError")),
        requests_error(made("urllib3.exceptions.NameResolutionError")),
        made("requests.exceptions.ConnectTimeout", base=OSError),
        made("httpx.ConnectError"),
        made("httpx.PoolTimeout"),
        made("aiohttp.client_exceptions.ClientConnectorError", base=OSError),
        made("urllib.error.URLError", reason=ConnectionRefusedError(), base=OSError),
    ],
)
def test_a_connection_that_was_never_made_sent_nothing(error: Exception) -> None:
    judged = of_exception(error)
    assert (judged.kind, judged.sent) == ("failure", False)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        made("requests.exceptions.ReadTimeout", base=OSError),
        requests_error(made("urllib3.exceptions.ProtocolError", "aborted", ConnectionResetError())),
        requests_error(made("urllib3.exceptions.ReadTimeoutError")),
        made("requests.exceptions.ConnectionError", base=OSError),
        made("httpx.ReadTimeout"),
        made("httpx.RemoteProtocolError"),
        made("http.client.IncompleteRead"),
        made("urllib.error.URLError", reason=TimeoutError(), base=OSError),
        made("google.auth.exceptions.TransportError", ConnectionResetError()),
    ],
)
def test_a_connection_that_broke_may_have_sent_everything(error: Exception) -> None:
    judged = of_exception(error)
    assert (judged.kind, judged.sent) == ("failure", True)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        FileNotFoundError("x"),
        RuntimeError("x"),
        made("requests.exceptions.JSONDecodeError", base=ValueError),
        made("requests.exceptions.InvalidURL", base=ValueError),
        made("requests.exceptions.TooManyRedirects", base=OSError),
        made("httpx.UnsupportedProtocol", base=kind("httpx", "TransportError")),
        made("httpx.LocalProtocolError", base=kind("httpx", "ProtocolError")),
        made("job.ConnectionError"),
        made("job.Failure", code=7),
        made("job.Failure", code="500"),
    ],
)
def test_an_error_of_the_functions_own_tells_nothing_of_the_service(error: Exception) -> None:
    assert of_exception(error) == Outcome("unknown", message=type(error).__name__)


def test_an_own_error_stays_one_when_it_was_raised_while_a_connection_error_was_handled() -> None:
    error = ValueError("mine")
    error.__context__ = ConnectionResetError()
    assert of_exception(error).kind == "unknown"


def test_a_refusal_inside_a_function_has_been_counted_already() -> None:
    assert of_exception(CircuitBreakerOpen("resting")).kind == "rejected"


def test_leaving_is_unknown() -> None:
    assert of_exception(SystemExit(500)).kind == "unknown"


def test_causes_in_a_circle_come_to_an_end() -> None:
    error = made("requests.exceptions.ConnectionError", base=OSError)
    error.__cause__ = error.__context__ = error
    assert of_exception(error).sent is True


def test_a_settlement_says_what_is_known_and_nothing_else() -> None:
    assert Outcome("success").settlement() == {"outcome": "success"}
    assert Outcome("failure", 503, 1.0, False, "X").settlement() == {
        "outcome": "failure", "status": 503, "retry_after_s": 1.0, "sent": False, "message": "X",
    }  # fmt: skip


def test_fields_are_found_on_the_answer_or_on_what_carries_it() -> None:
    assert headers_of(answer(200, X_A="b")) == {"x-a": "b"}
    assert headers_of(made("x.Y", response=answer(200, X_A="b"))) == {"x-a": "b"}
    assert headers_of(ValueError()) is None
    assert headers_of({"headers": {}}) is None
