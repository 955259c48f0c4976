"""The call log and the trace of calls through a running proxy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.wire import reply

if TYPE_CHECKING:
    from support.proxy import RunningProxy, StartProxy
    from support.raw_upstream import StartUpstream

pytestmark = pytest.mark.end_to_end

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def logs(proxy: RunningProxy, *words: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "blueprint_proxy", "logs", "--json", *words, "--config", str(proxy.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=proxy.directory)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_call_of_a_run_of_the_proxy_is_in_its_log(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(503), reply(200, b"12345"), reply(404), reply(500))
    it = proxy({"upstreams": {"it": {"url": server.url, "retry": {"base": "1ms", "cap": "1ms"}}}})
    client = it.client()
    secret = "hunter2-in-a-target"
    for path in ("/it/a", f"/it/b?key={secret}", "/it/c"):
        client.call("GET", path, ("traceparent", TRACEPARENT), ("authorization", f"Bearer {secret}"))
    it.stop()
    calls = logs(it)
    assert [(call["outcome"], call["status"], call["attempts"]) for call in calls] == [
        ("ok", 200, 2), ("client_error", 404, 1), ("failed", 500, 1),
    ]  # fmt: skip
    assert [call["trace"] for call in calls] == [TRACE] * 3
    assert [one["fault"] for one in calls[0]["tries"]] == ["503"]
    assert [call["status"] for call in logs(it, "--outcome", "failed")] == [500]
    kept = b"".join(path.read_bytes() for path in (it.directory / "state" / "calls").iterdir())
    assert secret.encode() not in kept
    assert b"/b" not in kept


def test_each_attempt_goes_up_as_a_child_of_the_jobs_trace(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(503), reply(200), reply(200))
    it = proxy({"upstreams": {"it": {"url": server.url, "retry": {"base": "1ms", "cap": "1ms"}}}})
    it.client().call("GET", "/it/a", ("traceparent", TRACEPARENT), ("tracestate", "v=1"))
    it.client().call("GET", "/it/a", ("traceparent", "00-nonsense"), ("tracestate", "v=1"))
    server.wait_for_requests(3)
    traces = [one.value("traceparent") for one in server.requests]
    first, second, invalid = [None if trace is None else trace.decode() for trace in traces]
    for trace in (first, second):
        assert trace is not None
        assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", trace)
    assert len({first, second, TRACEPARENT}) == 3
    assert invalid == "00-nonsense"
    assert {one.value("tracestate") for one in server.requests} == {b"v=1"}
