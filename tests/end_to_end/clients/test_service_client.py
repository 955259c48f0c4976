"""ServiceClient against the sidecar's process: what a job without an address in between gets from the guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from blueprint_clients.errors import UnknownUpstream
from blueprint_clients.external_services import CircuitBreakerOpen, ServiceClient, ServiceClientConfig

if TYPE_CHECKING:
    from pathlib import Path

    from end_to_end.clients.conftest import Beside
    from support.proxy import StartProxy

REPORTS = {
    "kind": "http",
    "url": "http://127.0.0.1:1",
    "retry": {"attempts": 3, "base": "1ms", "cap": "5ms"},
    "breaker": {"consecutive": 5, "open": "60s"},
}


class Function:
    def __init__(self, *ends: Any) -> None:
        self.ends = ends
        self.runs = 0

    def __call__(self) -> Any:
        end = self.ends[min(self.runs, len(self.ends) - 1)]
        self.runs += 1
        if isinstance(end, Exception):
            raise end
        return end


def client(*, repeatable: bool | None = True) -> ServiceClient:
    return ServiceClient(ServiceClientConfig("reports", repeatable=repeatable))


@pytest.mark.parametrize("unix", [False, True])
def test_a_function_is_run_again_until_it_succeeds(
    proxy: StartProxy, beside: Beside, tmp_path: Path, unix: bool
) -> None:
    listen = {"listen": {"admin": f"unix:{tmp_path}/admin.sock"}} if unix else {}
    beside(proxy({"upstreams": {"reports": REPORTS}, **listen}))
    function = Function(ConnectionRefusedError(), ConnectionResetError(), "report")
    one = client()
    assert one.call(function, timeout=30.0, operation_name="fetch") == "report"
    assert function.runs == 3
    assert one.get_stats()["attempt_count"] == 3
    assert one.get_stats()["circuit_breaker"]["state"] == "closed"


def test_a_failure_that_may_have_had_an_effect_is_not_repeated_by_default(proxy: StartProxy, beside: Beside) -> None:
    beside(proxy({"upstreams": {"reports": REPORTS}}))
    function = Function(ConnectionResetError(), "never")
    with pytest.raises(ConnectionResetError):
        client(repeatable=None).call(function)
    assert function.runs == 1


def test_a_programming_error_is_raised_at_once_and_harms_no_breaker(proxy: StartProxy, beside: Beside) -> None:
    beside(proxy({"upstreams": {"reports": REPORTS}}))
    function = Function(ValueError("mine"))
    for _ in range(10):
        with pytest.raises(ValueError, match="mine"):
            client().call(function)
    assert function.runs == 10
    assert client().call(lambda: "fine") == "fine"


def test_the_breaker_is_one_for_all_clients_and_says_when_to_come_back(proxy: StartProxy, beside: Beside) -> None:
    beside(proxy({"upstreams": {"reports": REPORTS}}))
    one, other = client(), client()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            one.call(Function(ConnectionRefusedError()))
    assert one.get_stats()["circuit_breaker"]["state"] == "open"
    function = Function("never")
    with pytest.raises(CircuitBreakerOpen) as raised:
        other.call(function)
    assert function.runs == 0
    assert raised.value.retry_after is not None
    assert 0 < raised.value.retry_after <= 60
    assert raised.value.upstream == "reports"


def test_a_service_that_the_sidecar_does_not_know_is_named(proxy: StartProxy, beside: Beside) -> None:
    beside(proxy({"upstreams": {"reports": REPORTS}}))
    with pytest.raises(UnknownUpstream, match="nobody"):
        ServiceClient("nobody").call(lambda: 1)


def test_a_sidecar_that_is_gone_does_not_stop_the_job(proxy: StartProxy, beside: Beside) -> None:
    running = proxy({"upstreams": {"reports": REPORTS}})
    beside(running)
    one = client()
    assert one.call(lambda: 1) == 1
    running.stop()
    assert one.call(lambda: 2) == 2
    assert one.get_stats()["unguarded_count"] == 1
