"""The real proxy with the real Secret Manager client: rotation, outages, places, and who waits for what."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support.secret_manager import PROJECT, SecretManagerStandIn
from support.wire import reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.proxy import RunningProxy, StartProxy
    from support.raw_upstream import RawUpstream, StartUpstream, UpstreamConnection
    from support.wire import Request

PATIENCE = 20.0
BAD_KEY = json.dumps(
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
).encode()
REFUSALS = {
    "gemini": (b"x-goog-api-key", "{}", reply(400, BAD_KEY, ("Content-Type", "application/json"))),
    "http": (b"authorization", "Bearer {}", reply(401, b"who are you?")),
}


@pytest.fixture
def manager() -> Iterator[SecretManagerStandIn]:
    with SecretManagerStandIn() as started:
        yield started


class Doors:
    """What an upstream's keys open: every request with another one is refused, as its kind does it."""

    def __init__(self, upstream: RawUpstream, kind: str, key: str) -> None:
        self.key = key
        self.refused = 0
        self._field, self._template, self._refusal = REFUSALS[kind]
        upstream.serve(self._answer)

    def _answer(self, request: Request, _: UpstreamConnection) -> bytes:
        if request.values(self._field.decode()) == [self._template.replace("{}", self.key).encode()]:
            return reply(200, b"open")
        self.refused += 1
        return self._refusal


def config(
    manager: SecretManagerStandIn | None, upstream: RawUpstream, kind: str = "http", **more: Any
) -> dict[str, Any]:
    credential = more.pop("credential", {"secret": "the-key", "env": "THE_KEY"})
    it = {"kind": kind, "url": upstream.url, "credential": credential, "retry": {"attempts": 1}}
    it["breaker"] = {"consecutive": 1}  # no bad key may ever open it
    it["rate"] = {"per_second": "none"}
    section = {} if manager is None else {"secret_manager": manager.config}
    return {**section, "upstreams": {"gemini": None, "gcs": None, "it": it}, **more}


def call(proxy: RunningProxy, path: str = "/it/v1beta/models", *fields: tuple[str, str]) -> tuple[int, bytes]:
    client = proxy.client()
    answer = client.call("GET", path, *fields)
    client.close()
    return answer.status, answer.body


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def said(proxy: RunningProxy, event: str) -> list[dict[str, Any]]:
    return [line for line in proxy.log_events() if line.get("event") == event]


@pytest.mark.parametrize("kind", ["gemini", "http"])
def test_a_rotation_while_a_load_runs_fails_no_call_and_asks_once(
    proxy: StartProxy, upstream: StartUpstream, manager: SecretManagerStandIn, kind: str
) -> None:
    manager.add("the-key", "old-key-0123456789")
    server = upstream()
    doors = Doors(server, kind, "old-key-0123456789")
    running = proxy(config(manager, server, kind))
    rotated, enough = threading.Event(), threading.Event()
    statuses: list[int] = []

    def job() -> int:
        client = running.client()
        after = 0
        while after < 20:
            late = rotated.is_set()
            statuses.append(client.call("GET", "/it/v1beta/models").status)
            after += late
            if len(statuses) > 100:
                enough.set()
        client.close()
        return after

    with ThreadPoolExecutor(8) as jobs:
        running_jobs = [jobs.submit(job) for _ in range(8)]
        assert enough.wait(PATIENCE)
        manager.add("the-key", "new-key-0123456789")
        doors.key = "new-key-0123456789"  # from here on the old one opens nothing
        rotated.set()
        assert [each.result(PATIENCE) for each in running_jobs] == [20] * 8
    assert set(statuses) == {200}
    assert doors.refused >= 1
    assert len(manager.asked) == 2  # the start's, and one for all the calls that were refused
    changed = said(running, "secret_changed")
    assert [(line["origin"], line["early"]) for line in changed] == [("Secret Manager the-key version 2", True)]
    assert b'credentials_rejected_total{outcome="repeated",upstream="it"}' in running.get_admin("/metrics")[1]


def test_a_version_that_is_latest_only_later_is_taken_then(
    proxy: StartProxy, upstream: StartUpstream, manager: SecretManagerStandIn
) -> None:
    manager.add("the-key", "old-key")
    server = upstream()
    doors = Doors(server, "http", "old-key")
    running = proxy(config(manager, server))
    assert call(running)[0] == 200
    doors.key = "new-key"
    manager.add("the-key", "new-key", seen=False)
    for _ in range(10):
        assert call(running) == (401, b"who are you?")
    assert len(manager.asked) == 2
    manager.catch_up("the-key")
    until(lambda: call(running)[0] == 200, "the new version")
    assert len(manager.asked) == 3


def test_the_last_good_value_serves_while_secret_manager_is_down(
    proxy: StartProxy, upstream: StartUpstream, manager: SecretManagerStandIn
) -> None:
    manager.add("the-key", "good-key")
    server = upstream()
    Doors(server, "http", "good-key")
    running = proxy(config(manager, server, secrets={"refresh": "200ms"}))
    assert call(running)[0] == 200
    manager.stop()
    until(lambda: len(said(running, "secrets_kept")) >= 3, "word of the outage")
    assert call(running) == (200, b"open")
    assert len(running.log_events()) == len(running.log.splitlines())  # gRPC adds no lines of its own
    first = said(running, "secrets_kept")[0]
    assert first["kept"][0].startswith(
        "the-key from Secret Manager the-key version 1, with Secret Manager the-key (UNAV"
    )
    assert first["age"] > 0


def test_down_at_the_start_the_environment_serves_which_is_said_until_it_is_back(
    proxy: StartProxy, upstream: StartUpstream
) -> None:
    manager = SecretManagerStandIn({"the-key": "managed-key"})
    server = upstream()
    doors = Doors(server, "http", "key-of-the-environment")
    running = proxy(config(manager, server), {"THE_KEY": "key-of-the-environment"})
    assert call(running) == (200, b"open")
    (fell_back,) = said(running, "secrets_fell_back")
    assert fell_back["severity"] == "WARNING"
    assert fell_back["found"][0].startswith(
        "the-key is from environment THE_KEY, not Secret Manager the-key (UNAVAILABLE"
    )
    with manager:
        until(lambda: bool(said(running, "secret_changed")), "Secret Manager's value")
        doors.key = "managed-key"
        assert call(running) == (200, b"open")


def test_missing_everywhere_is_forbidden_with_the_id_the_places_and_why(
    proxy: StartProxy, upstream: StartUpstream, manager: SecretManagerStandIn
) -> None:
    manager.add("other-key", "x")
    manager.disable("other-key", 1)
    server = upstream()
    settings = config(manager, server)
    settings["upstreams"]["other"] = {"kind": "http", "url": server.url, "credential": {"secret": "other-key"}}
    running = proxy(settings)
    status, body = call(running)
    message = json.loads(body)["error"]["message"]
    assert status == 403
    assert json.loads(body)["error"]["reason"] == "forbidden"
    for part in ("(the-key) is missing", "Secret Manager the-key (NOT_FOUND", "environment THE_KEY (nothing there)"):
        assert part in message
    assert b"DISABLED" in call(running, "/other/x")[1]
    assert server.requests == []
    (missing,) = said(running, "secrets_missing")  # both at once
    assert [each.partition(" ")[0] for each in missing["missing"]] == ["the-key", "other-key"]


def test_a_pinned_version_stays(proxy: StartProxy, upstream: StartUpstream, manager: SecretManagerStandIn) -> None:
    manager.add("the-key", "first-key")
    manager.add("the-key", "second-key")
    server = upstream()
    Doors(server, "http", "first-key")
    assert call(proxy(config(manager, server, credential={"secret": "the-key@1"})))[0] == 200
    assert manager.asked == [f"projects/{PROJECT}/secrets/the-key/versions/1"]


def test_nobody_waits_for_secrets_but_the_calls_that_need_one_and_those_within_their_deadline(
    proxy: StartProxy, upstream: StartUpstream, manager: SecretManagerStandIn
) -> None:
    manager.add("the-key", "good-key")
    manager.hang()
    server = upstream()
    Doors(server, "http", "good-key")
    settings = config(manager, server)
    settings["upstreams"]["open"] = {"kind": "http", "url": server.url}
    running = proxy(settings)  # has seen /readyz
    assert call(running, "/open/x")[0] == 401  # without a key, from the upstream itself
    assert call(running, "/it/x", ("x-blueprint-timeout-ms", "200"))[0] == 504
    with ThreadPoolExecutor(1) as jobs:
        waiting = jobs.submit(call, running)
        manager.wait_for_requests(1)
        assert not waiting.done()
        manager.go_on()
        assert waiting.result(PATIENCE) == (200, b"open")


def test_a_new_key_in_a_file_is_taken_without_a_restart(
    proxy: StartProxy, upstream: StartUpstream, tmp_path: Path
) -> None:
    (tmp_path / "the-key").write_text("old-key\n")
    server = upstream()
    doors = Doors(server, "http", "old-key")
    running = proxy(config(None, server, secrets={"directory": str(tmp_path)}))
    assert call(running)[0] == 200
    doors.key = "new-key"
    (tmp_path / "the-key.new").write_text("new-key\n")
    (tmp_path / "the-key.new").replace(tmp_path / "the-key")
    until(lambda: bool(said(running, "secret_changed")), "the new key")
    assert call(running)[0] == 200
    assert len(said(running, "secret_manager_unused")) == 1
