"""blueprint-run and leases against the sidecar's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_clients.errors import BlueprintError
from blueprint_clients.leases import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from end_to_end.clients.conftest import Beside
    from support.proxy import RunningProxy, StartProxy

LIMIT = 30.0
LAUNCHER = Path(sys.executable).with_name("blueprint-run")
REPORTS = {"reports": {"kind": "http", "url": "http://127.0.0.1:1"}}

GUARDS = """
from blueprint_clients.external_services import ServiceClient
print(ServiceClient("reports").call(lambda: "guarded", operation_name="in_a_run"))
"""


def launch(running: RunningProxy, *command: str, scene: str = "scene") -> subprocess.Popen[str]:
    environment = {"PATH": os.defpath, "BLUEPRINT_PROXY": f"http://{running.config['listen']['admin']}"}
    words = [str(LAUNCHER), "--job", "job", "--scene", scene, "--", *command]
    return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def runs_of(running: RunningProxy) -> list[dict[str, Any]]:
    assert isinstance(running.admin, tuple)
    connection = HTTPConnection(*running.admin, timeout=5)
    try:
        connection.request("GET", "/v1/runs")
        found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_jobs_calls_belong_to_its_run_and_its_end_is_known(proxy: StartProxy) -> None:
    running = proxy({"upstreams": REPORTS})
    with launch(running, sys.executable, "-c", GUARDS) as launched:
        out, _ = launched.communicate(timeout=LIMIT)
        assert launched.returncode == 0
    assert out.strip() == "guarded"
    (run,) = runs_of(running)
    assert (run["scope"], run["state"], run["outcome"], run["exit_status"]) == ("scene~job", "ended", "success", 0)
    assert run["watched"] is True
    assert sum(run["calls"]["outcomes"].values()) == 1


def test_a_job_that_is_killed_is_told_with_its_signal(proxy: StartProxy) -> None:
    running = proxy({"upstreams": REPORTS})
    with launch(running, "/bin/sh", "-c", "kill -9 $$") as launched:
        launched.communicate(timeout=LIMIT)
        assert launched.returncode == 128 + 9
    (run,) = runs_of(running)
    assert (run["state"], run["outcome"], run["signal"]) == ("ended", "failure", 9)


def test_a_second_job_of_the_same_scene_does_not_begin(proxy: StartProxy) -> None:
    running = proxy({"upstreams": REPORTS})
    with launch(running, "/bin/sh", "-c", "echo up; exec sleep 60") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "up\n"
        with launch(running, "/bin/echo", "ran") as second:
            out, _ = second.communicate(timeout=LIMIT)
            assert (second.returncode, out) == (1, "")
        with launch(running, "/bin/echo", "ran", scene="other") as third:
            out, _ = third.communicate(timeout=LIMIT)
            assert (third.returncode, out) == (0, "ran\n")
        first.send_signal(signal.SIGTERM)
        assert first.wait(LIMIT) == 128 + 15
    outcomes = {run["scope"]: run["outcome"] for run in runs_of(running)}
    assert outcomes == {"scene~job": "cancelled", "other~job": "success"}


def test_a_launcher_that_is_killed_with_its_job_ends_the_run(proxy: StartProxy) -> None:
    running = proxy({"upstreams": REPORTS})
    with launch(running, "/bin/sh", "-c", "echo $$; exec sleep 60") as launched:
        assert launched.stdout is not None
        job = int(launched.stdout.readline())
        launched.kill()
        launched.wait(LIMIT)
        os.kill(job, signal.SIGKILL)
    wait_for(lambda: [run["state"] for run in runs_of(running)] == ["ended"])


def test_a_lease_of_this_process_is_held_and_ended(proxy: StartProxy, beside: Beside) -> None:
    running = proxy({"upstreams": REPORTS})
    beside(running)
    lease = Lease.take("job", "scene", deadline_s=60.0)
    assert lease.held
    assert lease.deadline_s is not None
    assert 0 < lease.deadline_s <= 60
    (run,) = runs_of(running)
    assert (run["state"], run["held"], run["watched"]) == ("live", True, True)
    with pytest.raises(BlueprintError, match="live lease") as raised:
        Lease.take("job", "scene")
    assert raised.value.status == 409
    lease.end("failure", exit_status=3, message="out of crates")
    (run,) = runs_of(running)
    assert (run["state"], run["outcome"], run["exit_status"], run["held"]) == ("ended", "failure", 3, False)
