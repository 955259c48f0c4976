"""The runs' routes, without sockets; with them, and with processes that die, in end_to_end/test_runs.py."""

from __future__ import annotations

import asyncio
import os
import socket

import httpx2
import pytest

from blueprint_proxy.admin import runs as module
from blueprint_proxy.admin.app import create_app
from blueprint_proxy.admin.runs import INPUT_LIMIT
from blueprint_proxy.guard.permits import Guard
from blueprint_proxy.runs.lease import Order
from blueprint_proxy.runs.processes import ForeignProcessError, Unproven, Watched
from blueprint_proxy.runs.registry import MOST_LIVE, Runs
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.telemetry.stream import Telemetry
from support.virtual_time import virtual_time

ORDER = {"job_name": "job", "scene_id": "scene", "bucket": "b", "deadline_s": 60.0}
NOBODY = Unproven("a test")


class Stage:
    """The application around runs of its own."""

    def __init__(self, state):
        self.state = state
        telemetry = Telemetry()
        self.runs = Runs(telemetry, addresses=state.addresses, wall=lambda: 1_700_000_000.5)
        guard = Guard({}, telemetry=telemetry, sweep=Sweep(asyncio.get_running_loop()))
        self.app = create_app(state, runs=self.runs, guard=guard)

    async def ask(self, method, path, **options):
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8901") as client:
            return await client.request(method, path, **options)

    async def start(self, **changes):
        return await self.ask("POST", "/v1/runs", json={**ORDER, **changes})

    def lease(self, scene="scene", process=NOBODY):
        return self.runs.open(Order(scene, "job"), process)


@pytest.fixture
def play(state):
    def play(act):
        @virtual_time
        async def played():
            stage = Stage(state)
            try:
                await act(stage)
            finally:
                stage.runs.drain()

        played()

    return play


def error_of(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["reason"]


# taking a lease


def test_a_lease_comes_with_its_id_its_time_and_the_addresses_of_its_calls(play, state):
    async def act(stage):
        answer = await stage.start()
        assert answer.status_code == 201
        opened = answer.json()
        [lease] = stage.runs.live()
        assert (opened["id"], opened["scope"], opened["deadline_s"]) == (lease.id, "scene~job", 60.0)
        assert (opened["watched"], opened["why"]) == (False, "the lease names no process")
        assert opened["addresses"]["upstreams"]["gcs"]["served"] is True
        assert state.asked == [(lease.id, "127.0.0.1")]
        assert answer.headers["cache-control"] == "no-store"

    play(act)


def test_what_a_job_says_of_its_run_is_kept(play):
    async def act(stage):
        await stage.start(deadline_s=None, bucket=None, input_params={"episodes": 3})
        [lease] = stage.runs.live()
        assert lease.order == Order("scene", "job", None, None, {"episodes": 3})

    play(act)


@pytest.mark.parametrize(
    "changes",
    [
        {"job_name": ""}, {"job_name": "a~b"}, {"job_name": "x" * 65}, {"job_name": ".."}, {"scene_id": "a/b"},
        {"scene_id": None}, {"scene_id": "."},
        {"scene_id": "x" * 129}, {"bucket": "gs://b"}, {"deadline_s": 0}, {"deadline_s": -1}, {"deadline_s": 1e12},
        {"deadline_s": "60"}, {"pid": 0}, {"pid": 2**40}, {"pid": "7"}, {"pid": True}, {"colour": "red"},
        {"input_params": [1]}, {"input_params": {"a": "x" * INPUT_LIMIT}},
    ],
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_refused(play, changes):
    async def act(stage):
        assert error_of(await stage.start(**changes)) == (422, "bad_request")
        assert stage.runs.live() == []

    play(act)


def test_a_second_live_lease_of_a_scope_is_a_conflict_that_does_not_tell_the_first_ones_id(play):
    async def act(stage):
        first = (await stage.start()).json()["id"]
        second = await stage.start()
        assert error_of(second) == (409, "conflict")
        assert "has had a live lease since 2023-11-14T22:13:20Z" in second.text
        assert first not in second.text

    play(act)


def test_more_leases_than_there_are_places_for_are_refused(play):
    async def act(stage):
        for number in range(MOST_LIVE):
            stage.lease(f"scene-{number}")
        assert error_of(await stage.start()) == (503, "overloaded")

    play(act)


def test_while_the_proxy_drains_there_is_no_lease(play):
    async def act(stage):
        stage.runs.draining = True
        assert error_of(await stage.start()) == (503, "draining")

    play(act)


# the process of a lease


class Connected:
    """Puts one end of a connection into each request's scope, as the server does."""

    def __init__(self, stage, connection):
        self._app = stage.app
        self._connection = connection
        stage.app = self

    async def __call__(self, scope, receive, send):
        await self._app({**scope, "state": {"connection": self._connection}}, receive, send)


@pytest.fixture
def connection():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def test_a_proven_process_is_watched(play, connection):
    async def act(stage):
        Connected(stage, connection)
        answer = await stage.start(pid=os.getpid())
        assert (answer.json()["watched"], answer.json()["why"]) == (True, None)
        assert stage.runs.live()[0].process.pid == os.getpid()

    play(act)


def test_a_process_that_cannot_be_proven_is_not_watched_and_the_answer_says_why(play, connection, monkeypatch):
    monkeypatch.setattr(module, "prove", lambda _pid, _connection: NOBODY)

    async def act(stage):
        Connected(stage, connection)
        answer = await stage.start(pid=os.getpid())
        assert (answer.status_code, answer.json()["watched"], answer.json()["why"]) == (201, False, "a test")

    play(act)


def test_a_process_that_is_anothers_is_forbidden(play, connection):
    async def act(stage):
        Connected(stage, connection)
        assert error_of(await stage.start(pid=1)) == (403, "forbidden")
        assert stage.runs.live() == []

    play(act)


def test_a_request_that_is_cut_while_its_process_is_proven_leaves_nothing_behind(play, connection, monkeypatch):
    pinned, let_go = [], []

    def prove(pid, _connection):
        pinned.append(os.pidfd_open(pid))
        stop.get_loop().call_soon_threadsafe(stop.set_result, None)
        return Watched(pid, pinned[0], launched=False)

    monkeypatch.setattr(module, "prove", prove)
    monkeypatch.setattr(module, "discard", let_go.append)

    async def act(stage):
        nonlocal stop
        stop = asyncio.get_running_loop().create_future()
        scope = {"state": {"connection": connection}}
        proving = asyncio.get_running_loop().create_task(module._process(stage.runs, os.getpid(), scope))
        await asyncio.sleep(0)
        proving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await proving
        assert [process.pidfd for process in let_go] == pinned

    stop = None
    play(act)
    os.close(pinned[0])


def test_a_failed_proof_of_a_request_that_is_cut_is_no_error(play, connection, monkeypatch):
    def prove(_pid, _connection):
        raise ForeignProcessError("another's")

    monkeypatch.setattr(module, "prove", prove)

    async def act(stage):
        scope = {"state": {"connection": connection}}
        proving = asyncio.get_running_loop().create_task(module._process(stage.runs, 1, scope))
        await asyncio.sleep(0)
        proving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await proving

    play(act)


# ending and showing


def test_a_run_is_ended_by_whoever_has_its_id(play):
    async def act(stage):
        lease = stage.lease()
        told = {"outcome": "failure", "exit_status": 3, "message": "out of memory"}
        answer = await stage.ask("POST", f"/v1/runs/{lease.id}/end", json=told)
        assert (answer.status_code, answer.json()) == (
            200,
            {"scope": "scene~job", "why": "told", "outcome": "failure"},
        )
        assert (lease.ending.exit_status, lease.ending.message) == (3, "out of memory")

    play(act)


def test_the_end_of_a_run_may_be_told_twice(play):
    async def act(stage):
        lease = stage.lease()
        for outcome in ("success", "failure"):
            answer = await stage.ask("POST", f"/v1/runs/{lease.id}/end", json={"outcome": outcome})
            assert answer.json()["outcome"] == "success"

    play(act)


@pytest.mark.parametrize(
    "told", [{}, {"outcome": "fine"}, {"outcome": "failure", "exit_status": 256}, {"outcome": "failure", "signal": 0}]
)
def test_an_end_that_makes_no_sense_ends_nothing(play, told):
    async def act(stage):
        lease = stage.lease()
        assert error_of(await stage.ask("POST", f"/v1/runs/{lease.id}/end", json=told)) == (422, "bad_request")
        assert lease.ending is None

    play(act)


@pytest.mark.parametrize("name", ["0" * 32, "scene~job", "{name}"])
def test_neither_a_scope_nor_a_public_name_gives_authority_over_a_run(play, name):
    async def act(stage):
        lease = stage.lease()
        named = name.format(name=lease.run.name.replace("#", "%23"))
        assert error_of(await stage.ask("GET", f"/v1/runs/{named}/lease")) == (404, "not_found")
        ended = await stage.ask("POST", f"/v1/runs/{named}/end", json={"outcome": "success"})
        assert error_of(ended) == (404, "not_found")
        assert lease.ending is None

    play(act)


def test_operators_see_every_run_and_no_leases_id(play):
    async def act(stage):
        live = stage.lease("one", Watched(os.getpid(), os.pidfd_open(os.getpid()), launched=False))
        over = stage.lease("two")
        live.run.tally.count("ok", 2, 10, 20)
        live.run.deadline = asyncio.get_running_loop().time() + 50.0
        await asyncio.sleep(2.0)
        stage.runs.end(over, "told", outcome="failure", signal=9)
        answer = await stage.ask("GET", "/v1/runs")
        first, second = answer.json()
        assert first == {
            "id": live.run.name, "scope": "one~job", "job_name": "job", "scene_id": "one", "bucket": None,
            "started": "2023-11-14T22:13:20.500Z", "age_s": 2.0, "deadline_left_s": 48.0, "state": "live",
            "why": None, "outcome": None, "exit_status": None, "signal": None, "watched": True, "held": False,
            "calls": {"outcomes": {"ok": 1}, "attempts": 2, "bytes_in": 10, "bytes_out": 20},
        }  # fmt: skip
        assert (second["state"], second["why"], second["outcome"], second["signal"]) == ("ended", "told", "failure", 9)
        assert live.id not in answer.text
        assert over.id not in answer.text

    play(act)


def test_a_job_token_opens_no_other_run(play, state):
    async def act(stage):
        state.token, state.jobs = "operators-token", "jobs-token"
        lease = stage.lease()
        job = {"authorization": "Bearer jobs-token"}
        assert error_of(await stage.ask("GET", "/v1/runs", headers=job)) == (403, "forbidden")
        assert error_of(await stage.ask("GET", f"/v1/runs/{lease.id}", headers=job))[0] == 403
        assert error_of(await stage.ask("GET", f"/v1/runs/{'0' * 32}/lease", headers=job)) == (404, "not_found")
        operator = {"authorization": "Bearer operators-token"}
        assert (await stage.ask("GET", "/v1/runs", headers=operator)).status_code == 200

    play(act)


def test_who_comes_to_hold_a_run_that_is_over_hears_its_end_alone(play):
    async def act(stage):
        lease = stage.lease()
        stage.runs.end(lease, "told")
        answer = await stage.ask("GET", f"/v1/runs/{lease.id}/lease")
        assert answer.text.splitlines() == ['{"event": "ended", "why": "told"}']

    play(act)


def test_the_description_names_every_answer_of_the_runs_routes(state):
    @virtual_time
    async def played():
        described = Stage(state).app.openapi()["paths"]
        assert {"201", "403", "409", "422", "503"} <= set(described["/v1/runs"]["post"]["responses"])
        assert {"200", "404"} <= set(described["/v1/runs/{run_id}/lease"]["get"]["responses"])
        assert {"200", "404", "422"} <= set(described["/v1/runs/{run_id}/end"]["post"]["responses"])

    played()
