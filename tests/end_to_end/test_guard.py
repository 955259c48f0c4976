"""Functions guarded by a running proxy: over real connections, beside calls that pass through it."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from support.wire import reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.proxy import RunningProxy, StartProxy
    from support.raw_upstream import StartUpstream

pytestmark = pytest.mark.end_to_end

PATIENCE = 20.0


class Job:
    """A job's connection to the admin listener, kept alive."""

    def __init__(self, proxy: RunningProxy) -> None:
        assert isinstance(proxy.admin, tuple)
        self._connection = HTTPConnection(*proxy.admin, timeout=PATIENCE)

    def send(self, path: str, body: dict[str, Any]) -> None:
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})

    def read(self) -> tuple[int, dict[str, Any]]:
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.send(path, body)
        return self.read()

    def ask(self, **order: Any) -> tuple[int, dict[str, Any]]:
        return self.post("/v1/guard/it", {"operation": "f", **order})

    def settle(self, permit: str, outcome: str, **more: Any) -> tuple[int, dict[str, Any]]:
        return self.post(f"/v1/guard/it/{permit}", {"outcome": outcome, **more})

    def close(self) -> None:
        self._connection.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def shown(proxy: RunningProxy, name: str = "it") -> dict[str, Any]:
    _, body = proxy.get_admin("/v1/upstreams")
    found: dict[str, Any] = next(one for one in json.loads(body) if one["name"] == name)
    return found


def an_upstream(url: str, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"it": {"kind": "http", "url": url, "retry": {"attempts": 1}, **more}}}


def serving(proxy: RunningProxy) -> RunningProxy:
    """The admin listener answers a little after the data listeners do."""

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return proxy.get_admin("/livez")[0] == 200
        return False

    until(answers)
    return proxy


def test_failures_of_functions_keep_calls_from_the_upstream(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    it = serving(proxy(an_upstream(server.url, breaker={"consecutive": 3})))
    job = Job(it)
    for _ in range(3):
        job.settle(job.ask()[1]["permit"], "failure", status=500)
    refused = it.client().call("GET", "/it/x")
    assert (refused.status, refused.error) == (503, "breaker_open")
    assert server.requests == []
    job.close()


def test_failures_of_calls_keep_functions_from_running(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(500))
    it = serving(proxy(an_upstream(server.url, breaker={"consecutive": 3})))
    client, job = it.client(), Job(it)
    for _ in range(3):
        assert client.call("GET", "/it/x").status == 500
    status, refused = job.ask()
    assert (status, refused["error"]["reason"]) == (503, "breaker_open")
    job.close()


def test_a_job_that_hangs_up_while_it_waits_leaves_the_queue(proxy: StartProxy) -> None:
    it = serving(proxy(an_upstream("http://127.0.0.1:1", concurrency={"limit": 1, "queue": 1})))
    first, waiting = Job(it), Job(it)
    permit = first.ask()[1]["permit"]
    waiting.send("/v1/guard/it", {"operation": "f"})
    until(lambda: shown(it)["queued"] == 1)
    waiting.close()
    until(lambda: shown(it)["queued"] == 0)
    assert first.settle(permit, "success") == (200, {"again": False})
    until(lambda: shown(it)["in_flight"] == 0)
    first.close()


def test_a_permit_that_is_out_is_waited_for_when_the_proxy_ends(proxy: StartProxy) -> None:
    it = serving(proxy(an_upstream("http://127.0.0.1:1")))
    one, two = Job(it), Job(it)
    two.post("/v1/guard/it/none", {"outcome": "success"})  # connected before the listener closes
    permit = one.ask()[1]["permit"]
    it.signal(signal.SIGTERM)
    until(lambda: any(event["event"] == "draining" for event in it.log_events()))
    status, refused = two.ask()
    assert (status, refused["error"]["reason"]) == (503, "draining")
    assert one.settle(permit, "success") == (200, {"again": False})
    assert it.wait() == 0
    stopped = next(event for event in it.log_events() if event["event"] == "stopped")
    assert stopped["drained"] is True
    one.close()
    two.close()


def test_functions_of_a_kind_that_is_not_served_yet_are_guarded_too(proxy: StartProxy) -> None:
    it = serving(proxy({}))
    job = Job(it)
    status, given = job.post("/v1/guard/geniesim", {"operation": "step"})
    assert status == 200
    assert job.post(f"/v1/guard/geniesim/{given['permit']}", {"outcome": "success"}) == (200, {"again": False})
    assert it.client().call("GET", "/geniesim/x").status == 404
    job.close()


def test_a_function_is_counted_with_the_calls_of_its_upstream(proxy: StartProxy) -> None:
    it = serving(proxy(an_upstream("http://127.0.0.1:1")))
    job = Job(it)
    job.settle(job.ask()[1]["permit"], "success")
    _, metrics = it.get_admin("/metrics")
    assert b'blueprint_proxy_calls_total{operation="f",outcome="ok",upstream="it"} 1.0' in metrics
    job.close()
