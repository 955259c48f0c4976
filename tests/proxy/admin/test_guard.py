"""The guard's two routes, asked without a socket, on virtual time."""

import asyncio
import json
from functools import partial
from typing import NamedTuple

import pytest

from blueprint_proxy.admin.app import create_app
from blueprint_proxy.policies.concurrency import Concurrency
from support.guard_stage import Staged
from support.scripted_upstream import START, breaker
from support.virtual_time import virtual_time


class Answer(NamedTuple):
    status: int
    fields: dict
    body: dict

    @property
    def error(self):
        return self.body["error"]["reason"]


class Job:
    """Posts to the application; `leave` hangs up what waits."""

    def __init__(self, state, **given):
        self.staged = Staged(**given)
        self.app = create_app(state, runs=None, guard=self.staged.guard)
        self._gone = asyncio.Event()

    async def post(self, path, body, *fields):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        pending = [{"type": "http.request", "body": data, "more_body": False}]
        sent = []

        async def receive():
            if pending:
                return pending.pop()
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        heads = [(b"host", b"localhost"), (b"content-type", b"application/json"), *fields]
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "http", "server": ("127.0.0.1", 8901), "client": ("127.0.0.1", 1),
            "headers": heads, "http_version": "1.1", "asgi": {"version": "3.0"}, "state": {},
        }  # fmt: skip
        await self.app(scope, receive, send)
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], names, json.loads(sent[1]["body"]))

    async def ask(self, name="it", *fields, **order):
        return await self.post(f"/v1/guard/{name}", {"operation": "f", **order}, *fields)

    async def settle(self, permit, outcome="success", name="it", **more):
        return await self.post(f"/v1/guard/{name}/{permit}", {"outcome": outcome, **more})

    def leave(self):
        self._gone.set()


@pytest.fixture
def job(state):
    """Makes a Job, inside the running loop."""
    return partial(Job, state)


@virtual_time
async def test_a_permit_is_given_and_settled(job):
    it = job()
    given = await it.ask(timeout_s=30)
    assert given.status == 200
    assert {**given.body, "permit": ""} == {"permit": "", "attempt": 1, "expires_in_s": 29.98, "deadline_in_s": 30.0}
    settled = await it.settle(given.body["permit"])
    assert (settled.status, settled.body) == (200, {"again": False})
    it.staged.assert_nothing_is_left()


@virtual_time
async def test_a_function_to_be_run_again_gets_its_next_permit_when_its_wait_is_over(job):
    it = job()
    first = (await it.ask(repeatable=True, timeout_s=30)).body
    again = (await it.settle(first["permit"], "throttled", retry_after_s=4)).body
    assert asyncio.get_running_loop().time() == START + 4.0
    assert again["permit"] != first["permit"]
    assert {**again, "permit": ""} == {
        "again": True, "permit": "", "attempt": 2, "expires_in_s": 25.98, "deadline_in_s": 26.0,
    }  # fmt: skip


@virtual_time
async def test_what_was_given_up_says_why_and_when_to_come_back(job):
    it = job()
    given = (await it.ask(repeatable=True, timeout_s=5)).body
    settled = await it.settle(given["permit"], "throttled", retry_after_s=40)
    assert settled.body == {"again": False, "reason": "rate_limited", "retry_after_s": 40.0}


@virtual_time
async def test_attempts_that_are_exhausted_say_so(job):
    it = job()
    turn = (await it.ask(repeatable=True)).body
    for _ in range(3):
        turn = (await it.settle(turn["permit"], "failure", status=503)).body
    assert turn == {"again": False, "reason": "attempts_exhausted"}


@virtual_time
async def test_exhausted_attempts_without_a_status_are_an_unreachable_upstream(job):
    it = job()
    turn = (await it.ask(repeatable=True)).body
    for _ in range(3):
        turn = (await it.settle(turn["permit"], "failure", sent=False)).body
    assert (turn["again"], turn["reason"]) == (False, "upstream_unreachable")


@virtual_time
async def test_a_failure_that_may_not_be_repeated_is_left_to_the_job_to_name(job):
    it = job()
    given = (await it.ask(repeatable=False)).body
    assert (await it.settle(given["permit"], "failure")).body == {"again": False}


@virtual_time
async def test_a_refusal_reads_as_on_the_data_plane(job):
    it = job(breaker=breaker(consecutive=1))
    await it.settle((await it.ask()).body["permit"], "failure")
    refused = await it.ask("it", (b"x-request-id", b"job-7"))
    assert refused.status == 503
    assert refused.fields | {"content-length": ""} == {
        "content-type": "application/json; charset=utf-8", "x-blueprint-error": "breaker_open", "retry-after": "5",
        "x-blueprint-not-sent": "true", "x-blueprint-upstream": "it", "x-blueprint-attempts": "0",
        "x-blueprint-source": "proxy", "x-request-id": "job-7", "content-length": "",
        "cache-control": "no-store", "x-content-type-options": "nosniff",
    }  # fmt: skip
    assert refused.body["error"].items() >= {"code": 503, "upstream": "it", "retry_after_s": 5.0}.items()


@virtual_time
async def test_an_upstream_that_is_not_there_is_a_404(job):
    refused = await job().ask("nope")
    assert (refused.status, refused.error) == (404, "unknown_upstream")
    assert "x-blueprint-upstream" not in refused.fields


@pytest.mark.parametrize("name", ["\u00fc", "a\r\nset-cookie: b=c", "\x00"])
def test_no_name_that_somebody_made_up_gets_into_a_field_of_the_answer(job, name):
    @virtual_time
    async def played():
        it = job()
        it.staged.guard.drain()
        refused = await it.ask(name)
        assert (refused.status, refused.error) == (404, "unknown_upstream")
        assert "x-blueprint-upstream" not in refused.fields

    played()


@virtual_time
async def test_a_permit_that_is_not_out_is_gone(job):
    it = job()
    permit = (await it.ask()).body["permit"]
    assert (await it.settle(permit, name="other")).status == 410
    assert (await it.settle(permit)).status == 200
    gone = await it.settle(permit)
    assert (gone.status, gone.error) == (410, "gone")


@virtual_time
async def test_a_permit_carries_the_request_id_that_its_call_has(job):
    it = job()
    given = await it.ask("it", (b"x-request-id", b"job-7"))
    await it.settle(given.body["permit"])
    assert given.fields["x-request-id"] == "job-7"
    assert it.staged.heard.all("call_finished")[0]["request_id"] == "job-7"


@pytest.mark.parametrize(
    "order",
    [
        b"", b"{", b"[]", {}, {"operation": ""}, {"operation": "x" * 65}, {"operation": "a\nb"}, {"operation": 1},
        {"operation": "f", "timeout_s": 0}, {"operation": "f", "timeout_s": -1}, {"operation": "f", "timeout_s": "1"},
        b'{"operation": "f", "timeout_s": NaN}', {"operation": "f", "timeout_s": 1e9}, {"operation": "f", "extra": 1},
        {"operation": "f", "run": "a b"}, {"operation": "f", "repeatable": "yes"},
    ],
    ids=str,
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_a_422_and_begins_nothing(job, order):
    @virtual_time
    async def played():
        it = job()
        answer = await it.post("/v1/guard/it", order)
        assert (answer.status, answer.body["error"]["code"]) == (422, 422)
        assert it.staged.guard.in_flight == 0

    played()


@pytest.mark.parametrize(
    "told",
    [
        {}, {"outcome": "good"}, {"outcome": "failure", "status": 99}, {"outcome": "failure", "status": "503"},
        {"outcome": "throttled", "retry_after_s": -1}, {"outcome": "failure", "sent": 1},
    ],
    ids=str,
)  # fmt: skip
def test_an_outcome_that_makes_no_sense_is_a_422_and_settles_nothing(job, told):
    @virtual_time
    async def played():
        it = job()
        permit = (await it.ask()).body["permit"]
        assert (await it.post(f"/v1/guard/it/{permit}", told)).status == 422
        assert (await it.settle(permit)).status == 200

    played()


@virtual_time
async def test_a_job_that_hangs_up_in_the_queue_gives_its_turn_to_others(job):
    it = job(concurrency=Concurrency(1, 1))
    await it.ask()
    waiting = asyncio.get_running_loop().create_task(it.ask())
    await asyncio.sleep(1)
    assert it.staged.policies.concurrency.queued == 1
    it.leave()
    await waiting
    assert (it.staged.policies.concurrency.queued, it.staged.guard.in_flight) == (0, 1)


@virtual_time
async def test_a_job_that_hangs_up_in_a_back_off_ends_its_function(job):
    it = job()
    permit = (await it.ask(repeatable=True)).body["permit"]
    waiting = asyncio.get_running_loop().create_task(it.settle(permit, "throttled", retry_after_s=60))
    await asyncio.sleep(1)
    assert not waiting.done()
    it.leave()
    await waiting
    assert it.staged.heard.all("call_finished")[0]["outcome"] == "cancelled"
    it.staged.assert_nothing_is_left()


@virtual_time
async def test_a_cancelled_request_gives_its_turn_to_others(job):
    it = job(concurrency=Concurrency(1, 1))
    await it.ask()
    waiting = asyncio.get_running_loop().create_task(it.ask())
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert (it.staged.policies.concurrency.queued, it.staged.guard.in_flight) == (0, 1)


@virtual_time
async def test_openapi_tells_both_routes_as_they_are(job):
    it = job()
    paths = it.app.openapi()["paths"]
    permit, settle = paths["/v1/guard/{name}"]["post"], paths["/v1/guard/{name}/{permit}"]["post"]
    for told, model in ((permit, "PermitOrder"), (settle, "Settlement")):
        assert told["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(f"/{model}")
        assert {one["name"] for one in told["parameters"] if one["required"]} <= {"name", "permit"}
    assert set(permit["responses"]) >= {"200", "403", "404", "422", "429", "503", "504"}
    assert set(settle["responses"]) >= {"200", "410", "422"}


@virtual_time
async def test_a_function_belongs_to_the_trace_that_its_request_names(job):
    it = job()
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    permit = (await it.ask("it", (b"traceparent", trace))).body["permit"]
    await it.post(f"/v1/guard/it/{permit}", {"outcome": "success"})
    await asyncio.sleep(0)
    assert it.staged.heard.all("call_finished")[0]["trace"] == "0af7651916cd43dd8448eb211c80319c"
