from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from blueprint_clients.errors import BlueprintError, ConfigurationError, SidecarUnreachable
from blueprint_clients.leases import Lease, run_of_this_process
from support.sidecar import Said, ScriptedSidecar, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "r" * 22
END = f"/v1/runs/{ID}/end"
LEASE = f"/v1/runs/{ID}/lease"
PATIENCE = 10.0


@pytest.fixture
def taken(scripted: ScriptedSidecar) -> Iterator[Lease]:
    lease = Lease.take("job", "scene")
    scripted.leases.get(timeout=PATIENCE)
    yield lease
    lease.end()
    wait_for_the_watcher()


def wait_for_the_watcher() -> None:
    for thread in threading.enumerate():
        if thread.name == "blueprint-lease":
            thread.join(PATIENCE)


def test_a_run_is_begun_and_held(scripted: ScriptedSidecar, taken: Lease) -> None:
    assert taken.id == ID
    assert taken.scope == "scene~job"
    assert taken.held
    assert taken.ended is None
    (order,) = scripted.of("POST", "/v1/runs")
    assert order.body == {"job_name": "job", "scene_id": "scene", "pid": os.getpid()}


def test_everything_given_is_said(scripted: ScriptedSidecar) -> None:
    lease = Lease.take("job", "scene", bucket="b", deadline_s=60.0, pid=7, input_params={"a": 1})
    assert scripted.of("POST", "/v1/runs")[0].body == {
        "job_name": "job", "scene_id": "scene", "bucket": "b", "deadline_s": 60.0, "pid": 7, "input_params": {"a": 1},
    }  # fmt: skip
    lease.end()
    wait_for_the_watcher()


def test_what_is_not_given_comes_from_the_environment(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB_NAME": "j", "SCENE_ID": "s", "BUCKET": "b"}.items():
        job.setenv(name, value)
    lease = Lease.take()
    said = scripted.of("POST", "/v1/runs")[0].body
    assert (said["job_name"], said["scene_id"], said["bucket"]) == ("j", "s", "b")
    lease.end()
    wait_for_the_watcher()


def test_a_run_without_a_name_is_an_error(scripted: ScriptedSidecar) -> None:
    with pytest.raises(ConfigurationError, match="job_name and scene_id"):
        Lease.take()


def test_switched_off_there_is_no_lease(job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_PROXY", "off")
    with pytest.raises(ConfigurationError, match="off"):
        Lease.take("job", "scene")


def test_a_scope_that_is_held_elsewhere_is_refused(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", "/v1/runs", refused(409, "conflict", "held since noon"))
    with pytest.raises(BlueprintError, match="held since noon") as raised:
        Lease.take("job", "scene")
    assert raised.value.status == 409


def test_the_lease_is_the_run_of_this_process_while_it_is_held(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch
) -> None:
    job.setenv("BLUEPRINT_RUN", "outer")
    assert run_of_this_process() == "outer"
    lease = Lease.take("job", "scene")
    assert run_of_this_process() == ID
    lease.end()
    assert run_of_this_process() == "outer"
    wait_for_the_watcher()


def test_the_end_is_told_once(scripted: ScriptedSidecar, taken: Lease) -> None:
    taken.end("failure", exit_status=3, message="why")
    taken.end("success")
    (told,) = scripted.of("POST", END)
    assert told.body == {"outcome": "failure", "exit_status": 3, "message": "why"}
    assert not taken.held
    assert taken.ended == "failure"


def test_the_connection_goes_with_the_end(scripted: ScriptedSidecar, taken: Lease) -> None:
    taken.end()
    assert scripted.left.get(timeout=PATIENCE)
    wait_for_the_watcher()


def test_an_end_that_the_sidecar_refuses_gives_the_lease_up_all_the_same(
    scripted: ScriptedSidecar, taken: Lease
) -> None:
    scripted.script("POST", END, refused(503, "draining"))
    with pytest.raises(BlueprintError):
        taken.end()
    assert not taken.held


def test_the_sidecars_end_is_noticed(scripted: ScriptedSidecar, taken: Lease, caplog: pytest.LogCaptureFixture) -> None:
    scripted.lease_events.put({"event": "alive"})
    scripted.lease_events.put({"event": "ended", "why": "deadline"})
    wait_for_the_watcher()
    assert taken.ended == "deadline"
    assert not taken.held
    assert run_of_this_process() is None
    assert "scene~job is over: deadline" in caplog.text


def test_a_broken_lease_is_attached_again(scripted: ScriptedSidecar, taken: Lease) -> None:
    scripted.lease_events.put(None)
    again = scripted.leases.get(timeout=PATIENCE)
    assert again.path == LEASE
    assert again.connection != scripted.of("GET", LEASE)[0].connection
    assert len(scripted.of("POST", "/v1/runs")) == 1


def test_a_lease_that_the_sidecar_has_forgotten_is_lost(
    scripted: ScriptedSidecar, taken: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.script("GET", LEASE, refused(404, "not_found"))
    scripted.lease_events.put(None)
    wait_for_the_watcher()
    assert taken.ended == "the sidecar no longer knows this run"
    assert not taken.held


@pytest.mark.parametrize(
    "answer",
    [
        Said(raw=b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n13\r\n{"event": "ended"}\n\r\n', close=True),
        Said(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nnope\n\r\n", close=True),
        Said(silent=True),
    ],
)
def test_a_lease_that_is_not_held_from_the_beginning_is_an_error(scripted: ScriptedSidecar, answer: Said) -> None:
    scripted.script("GET", LEASE, answer)
    with pytest.raises(SidecarUnreachable):
        Lease.take("job", "scene")
    assert run_of_this_process() is None


def test_a_forked_child_neither_holds_nor_ends_the_run(scripted: ScriptedSidecar, taken: Lease) -> None:
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            taken.end("failure")
            code = 0 if not taken.held and run_of_this_process() == ID else 8
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert taken.held
    assert scripted.of("POST", END) == []


HOLDER = """
import os, sys
from blueprint_clients.leases import Lease
Lease.take("job", "scene")
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), 9)
"""


def test_a_childs_life_does_not_keep_the_lease_of_a_killed_process(scripted: ScriptedSidecar) -> None:
    environment = {
        "BLUEPRINT_PROXY": scripted.url,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("clients")),
    }
    with subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, stdin=subprocess.PIPE) as holder:
        assert holder.wait(PATIENCE) == -9
        assert scripted.left.get(timeout=PATIENCE)
        assert holder.stdin is not None
        holder.stdin.close()  # only now the child ends


def test_the_id_is_not_shown(taken: Lease) -> None:
    assert ID not in repr(taken)
