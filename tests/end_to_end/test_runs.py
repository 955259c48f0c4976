"""Runs over real sockets: jobs that hold leases, die, fork, come from elsewhere, and a sidecar that is started anew."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from support.lease import JobApi, LeasedJob
from support.wire import reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.proxy import RunningProxy, StartProxy
    from support.raw_upstream import RawUpstream, StartUpstream, UpstreamConnection

NOBODY = 65534
LIMIT = 10.0
"""Seconds to wait for what must come within one, on a machine that does other things too."""


class StartJob(Protocol):
    """What the fixture `job` gives."""

    def __call__(self, running: RunningProxy, **order: Any) -> LeasedJob: ...


@pytest.fixture
def job() -> Iterator[StartJob]:
    """Starts a process that takes a lease; ended with the test."""
    started: list[LeasedJob] = []

    def start(running: RunningProxy, **order: Any) -> LeasedJob:
        started.append(LeasedJob(running.admin, running.http, **order))
        return started[-1]

    yield start
    for one in started:
        one.close()


def to(server: RawUpstream, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"it": {"kind": "http", "url": server.url, "retry": {"attempts": 1}}}, **more}


def over_unix(folder: Path) -> dict[str, dict[str, str]]:
    return {"listen": {"http": f"unix:{folder / 'http'}", "admin": f"unix:{folder / 'admin'}"}}


def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives when it is true."""
    deadline = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
    return found


def ended(running: RunningProxy) -> list[dict[str, Any]]:
    return [line for line in running.log_events() if line["event"] == "run_ended"]


def hang(connection: UpstreamConnection) -> None:
    connection.read_request()
    connection.wait_closed()


@pytest.fixture(params=["tcp", "unix"])
def sockets(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return over_unix(tmp_path) if request.param == "unix" else {}


def test_the_death_of_a_job_ends_its_run(proxy: StartProxy, job: StartJob, sockets: dict[str, Any]) -> None:
    running = proxy(sockets)
    one = job(running)
    assert (one.status, one.said["watched"], one.said["why"]) == (201, True, None)
    one.kill()
    [event] = until(lambda: ended(running))
    assert (event["run"], event["why"], event["outcome"]) == (
        f"scene~job#{one.said['id'][:8]}",
        "process_ended",
        "unknown",
    )


def test_a_forked_child_that_keeps_the_connection_does_not_keep_the_run(
    proxy: StartProxy, job: StartJob, sockets: dict[str, Any]
) -> None:
    running = proxy(sockets)
    one = job(running)
    [child] = one.tell("fork")
    one.kill()
    until(lambda: ended(running))
    assert one.read() == ['{"event": "ended", "why": "process_ended"}\n']  # says the child, which lived all the time
    until(lambda: not Path(f"/proc/{child}").exists())


def test_a_living_job_keeps_its_run_when_its_connection_is_lost(proxy: StartProxy) -> None:
    api = JobApi(proxy({}).admin)
    opened = api.start(pid=os.getpid())
    assert opened["watched"] is True
    lease = api.hold(opened["id"])
    assert lease.first == {"event": "held"}
    lease.close()
    until(lambda: not api.runs()[0]["held"])
    again = api.hold(opened["id"])
    assert api.runs()[0]["state"] == "live"
    assert api.end(opened["id"], outcome="success")[0] == 200
    assert again.rest() == [{"event": "ended", "why": "told"}]
    again.close()


def test_whoever_launched_a_process_names_it_and_tells_how_it_ended(proxy: StartProxy, job: StartJob) -> None:
    running = proxy({})
    api = JobApi(running.admin)
    started = job(running, scene_id="unrelated")  # a child of this process, which takes a lease for it
    opened = api.start("launched", pid=started.process.pid)
    assert opened["watched"] is True
    started.kill()
    assert api.end(opened["id"], outcome="failure", signal=signal.SIGKILL)[0] == 200
    [shown] = [run for run in api.runs() if run["scene_id"] == "launched"]
    assert (shown["why"], shown["outcome"], shown["signal"]) == ("told", "failure", signal.SIGKILL)


def test_a_second_live_lease_of_a_scope_is_refused_until_the_first_is_over(proxy: StartProxy, job: StartJob) -> None:
    running = proxy({})
    first, second = job(running), job(running)
    assert second.status == 409
    assert f"held for process {first.process.pid}" in second.said["error"]["message"]
    assert first.said["id"] not in str(second.said)
    first.kill()
    until(lambda: ended(running))
    assert job(running).status == 201


def test_a_deadline_of_the_run_ends_a_call_that_hangs_and_sends_no_later_one(
    proxy: StartProxy, upstream: StartUpstream
) -> None:
    server = upstream()
    server.script(hang)
    running = proxy(to(server))
    opened = JobApi(running.admin).start(deadline_s=0.5)
    client = running.client()
    answer = client.call("GET", f"/@{opened['id']}/it/x")
    assert (answer.status, answer.error) == (504, "deadline_exceeded")
    assert f"the deadline of run scene~job#{opened['id'][:8]} has passed".encode() in answer.body
    later = client.call("GET", "/it/x", ("x-blueprint-run", opened["id"]))
    assert (later.status, later.value("x-blueprint-not-sent")) == (504, b"true")
    assert len(server.requests) == 1


def test_a_sidecar_that_is_started_anew_fails_no_call_of_a_job_with_an_old_lease(
    proxy: StartProxy, upstream: StartUpstream
) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    first = proxy(to(server))
    opened = JobApi(first.admin).start()
    lease = JobApi(first.admin).hold(opened["id"])
    first.expected_exit = -signal.SIGKILL
    first.process.kill()
    first.process.wait()
    second = proxy(to(server, listen=first.config["listen"]))
    api, client = JobApi(second.admin), second.client()
    for _ in range(3):
        assert client.call("GET", f"/@{opened['id']}/it/x").body == b"hello"
        assert client.call("GET", "/it/x", ("x-blueprint-run", opened["id"])).body == b"hello"
    unknown = [line["run"] for line in second.log_events() if line["event"] == "run_unknown"]
    assert unknown == [f"{opened['id'][:8]}..."]
    assert api.end(opened["id"], outcome="success")[0] == 404
    assert api.start()["id"] != opened["id"]
    assert opened["id"] not in first.log + second.log
    lease.close()


def test_calls_over_a_unix_socket_belong_to_the_run_of_their_process(
    proxy: StartProxy, upstream: StartUpstream, job: StartJob, tmp_path: Path
) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    running = proxy({**to(server), **over_unix(tmp_path)})
    one, two = job(running, scene_id="one"), job(running, scene_id="two")
    assert [one.tell("call", "/it/x"), one.tell("call", "/it/x"), two.tell("call", "/it/x")] == [[200], [200], [200]]
    client = running.client()
    assert client.call("GET", "/it/x").status == 200  # neither's
    assert client.call("GET", f"/@{two.said['id']}/it/x").status == 200
    counted = {run["scene_id"]: run["calls"]["outcomes"] for run in JobApi(running.admin).runs()}
    assert counted == {"one": {"ok": 2}, "two": {"ok": 2}}


def test_a_drain_ends_the_lease_with_a_last_line(proxy: StartProxy) -> None:
    running = proxy({})
    api = JobApi(running.admin)
    lease = api.hold(api.start()["id"])
    running.signal(signal.SIGTERM)
    assert lease.rest() == [{"event": "ended", "why": "draining"}]
    lease.close()
    assert running.wait() == 0


# what a job may not


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a job as another user")
def test_a_lease_cannot_name_a_process_of_another_user(proxy: StartProxy, job: StartJob) -> None:
    running = proxy({})
    for pid in (os.getpid(), running.pid, 1):
        refused = job(running, user=NOBODY, pid=pid)
        assert (refused.status, refused.said["error"]["reason"]) == (403, "forbidden")
    assert JobApi(running.admin).runs() == []
    assert job(running, user=NOBODY).said["watched"] is True  # its own it may


def test_a_lease_cannot_name_a_process_that_is_not_the_jobs_own(
    proxy: StartProxy, job: StartJob, sockets: dict[str, Any]
) -> None:
    running = proxy(sockets)
    for pid in (os.getpid(), running.pid):
        refused = job(running, pid=pid)
        assert (refused.status, refused.said["error"]["reason"]) == (403, "forbidden")
    assert [line["why"] for line in running.log_events() if line["event"] == "run_refused"] == ["foreign_process"] * 2


def test_a_job_token_reads_no_other_run_and_guesses_none(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    tokens = {"jobs": {"token": {"env": "JOBS_TOKEN"}}, "admin": {"token": {"env": "ADMIN_TOKEN"}}}
    environment = {"JOBS_TOKEN": "the-token-of-jobs", "ADMIN_TOKEN": "the-token-of-operators"}
    running = proxy({**to(server), **tokens}, environment)
    mine, theirs = (JobApi(running.admin, "the-token-of-jobs") for _ in range(2))
    opened = theirs.start("theirs")
    assert JobApi(running.admin).ask("POST", "/v1/runs", {"scene_id": "s", "job_name": "j"})[0] == 401
    assert mine.ask("GET", "/v1/runs")[0] == 403
    assert mine.ask("GET", "/v1/runs/theirs~job/lease")[0] == 404
    assert mine.end("theirs~job", outcome="failure")[0] == 404
    client = running.client()
    guessed = client.call("GET", "/@theirs~job/it/x")
    assert (guessed.status, guessed.error) == (403, "forbidden")
    assert client.call("GET", f"/@{opened['id']}/it/x").status == 200
    [shown] = JobApi(running.admin, "the-token-of-operators").runs()
    assert (shown["state"], shown["calls"]["outcomes"]) == ("live", {"ok": 1})
    assert opened["id"] not in str(shown)
