"""The composition root in this process, on real sockets; what needs a process of its own is in end_to_end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from blueprint_proxy.app import App
from blueprint_proxy.config import load
from blueprint_proxy.runs.lease import Order
from blueprint_proxy.runs.processes import Unproven
from support.wire import reply

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 20.0


class Stage:
    """An App under test: its file, its log lines, and a way to call it from a thread."""

    def __init__(self, app, file: Path, sockets: Path, capsys):
        self.app = app
        self.file = file
        self.http = str(sockets / "http.sock")
        self.admin = str(sockets / "admin.sock")
        self._capsys = capsys
        self._read = ""

    def lines(self):
        self._read += self._capsys.readouterr().err
        return [json.loads(line) for line in self._read.splitlines()]

    def said(self, event):
        return [line for line in self.lines() if line["event"] == event]

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 -- the condition is about log lines, which set no event
                await asyncio.sleep(0.005)

    async def call(self, path, address=None, token=None):
        """Status and body of a GET."""
        return await asyncio.to_thread(self._call, path, address or self.http, token)

    def _call(self, path, address, token):
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        with contextlib.closing(connection):
            connection.sock.connect(address)
            connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def rewrite(self, text):
        """A new file: the listeners stay, the rest is `text`."""
        self.file.write_text(f"listen: {{http: 'unix:{self.http}', admin: 'unix:{self.admin}'}}\n{text}")


@pytest.fixture(autouse=True)
def leaves_no_trace():
    """An App is a process's whole life: it never takes its log handler back, nor what it froze."""
    before = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = before
    gc.unfreeze()


@pytest.fixture
def staged(tmp_path, capsys):
    """Runs `act(stage)` beside a running App; the result of `run`, after a stop if the act has not stopped it."""

    def run(text, act, **environ):
        async def both():
            stage = Stage(None, tmp_path / "proxy.yaml", tmp_path, capsys)
            stage.rewrite(text if "state_dir" in text else f"state_dir: '{tmp_path}/state'\n{text}")
            app = stage.app = App(load(stage.file, environ), reload=lambda: load(stage.file, environ))
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
                running = tasks.create_task(app.run())
                try:
                    await stage.until(lambda: len(stage.said("listening")) == 2 or running.done())
                    await act(stage)
                finally:
                    if not app._stopping.is_set():
                        app.stop()
            return running.result(), stage

        return asyncio.run(both())

    return run


def an_upstream(server, **more):
    return json.dumps({"it": {"url": server.url, "retry": {"attempts": 1}, **more}})


def slow(server):
    """Answers nothing until the connection goes."""
    server.serve(lambda _, connection: connection.wait_closed().encode())


async def in_flight(stage, server, tasks):
    """A call that has reached the upstream; its task ends with the status, or None when it was cut."""

    async def call():
        try:
            return (await stage.call("/it/x"))[0]
        except (ConnectionError, OSError, EOFError):
            return None

    task = tasks.create_task(call())
    await asyncio.to_thread(server.wait_for_requests, 1)
    return task


def test_it_serves_from_its_listeners_until_it_is_stopped(staged, upstream):
    server = upstream()
    server.answer(reply(200, b"hello"))

    async def act(stage):
        assert await stage.call("/it/x") == (200, b"hello")
        assert (await stage.call("/readyz", stage.admin))[0] == 200
        assert b"blueprint_proxy_" in (await stage.call("/metrics", stage.admin))[1]

    drained, stage = staged(f"upstreams: {an_upstream(server)}", act)
    assert drained
    assert [line["listener"] for line in stage.said("listening")] == ["http", "admin"]
    assert [line["drained"] for line in stage.said("stopped")] == [True]


def test_stopped_says_that_a_call_was_cut_at_the_end_of_the_grace(staged, upstream):
    server = upstream()
    slow(server)

    async def act(stage):
        async with asyncio.TaskGroup() as tasks:
            await in_flight(stage, server, tasks)
            stage.app.stop()

    drained, stage = staged(f"drain: {{grace: 50ms}}\nupstreams: {an_upstream(server)}", act)
    assert not drained
    assert [line["drained"] for line in stage.said("stopped")] == [False]


def test_a_second_stop_does_not_wait_for_the_grace(staged, upstream):
    server = upstream()
    slow(server)

    async def act(stage):
        async with asyncio.TaskGroup() as tasks:
            call = await in_flight(stage, server, tasks)
            stage.app.stop()
            await stage.until(lambda: stage.said("draining"))
            assert not call.done()
            stage.app.stop()

    drained, stage = staged(f"drain: {{grace: 10m}}\nupstreams: {an_upstream(server)}", act)
    assert not drained
    assert [line["in_flight"] for line in stage.said("draining")] == [1]


def test_while_it_drains_it_is_alive_and_not_ready(staged, upstream):
    server = upstream()
    slow(server)

    async def act(stage):
        async with asyncio.TaskGroup() as tasks:
            await in_flight(stage, server, tasks)
            stage.app.stop()
            await stage.until(lambda: stage.said("draining"))
            assert (await stage.call("/readyz", stage.admin))[0] == 503
            assert (await stage.call("/livez", stage.admin))[0] == 200
            stage.app.stop()

    staged(f"drain: {{grace: 10m}}\nupstreams: {an_upstream(server)}", act)


def test_a_stop_before_the_admin_listener_is_up_ends_it_too(tmp_path):
    async def run():
        (tmp_path / "proxy.yaml").write_text(
            f"listen: {{http: 'unix:{tmp_path}/h', admin: 'unix:{tmp_path}/a'}}\nstate_dir: '{tmp_path}'"
        )
        app = App(load(tmp_path / "proxy.yaml", {}))
        app.stop()
        async with asyncio.timeout(PATIENCE):
            return await app.run()

    assert asyncio.run(run())


@pytest.mark.parametrize("taken", ["http", "admin"])
def test_a_taken_address_is_an_error_and_leaves_nothing_open(tmp_path, taken):
    async def run():
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / taken))
            other.listen()
            (tmp_path / "proxy.yaml").write_text(
                f"listen: {{http: 'unix:{tmp_path}/http', admin: 'unix:{tmp_path}/admin'}}\nstate_dir: '{tmp_path}'"
            )
            await App(load(tmp_path / "proxy.yaml", {})).run()

    with pytest.raises(OSError, match=f"^the {taken} listener cannot bind unix:.*: another process serves"):
        asyncio.run(run())
    assert [name for name in ("http", "admin") if (tmp_path / name).exists()] == [taken]


def test_tls_files_of_an_upstream_that_cannot_be_used_are_named_at_start(tmp_path):
    async def run():
        (tmp_path / "proxy.yaml").write_text(
            f"listen: {{http: 'unix:{tmp_path}/h', admin: 'unix:{tmp_path}/a'}}\n"
            f"upstreams: {{it: {{url: 'https://it', tls: {{ca: '{tmp_path}/missing.pem'}}}}}}"
        )
        await App(load(tmp_path / "proxy.yaml", {})).run()

    with pytest.raises(OSError, match=r"^upstreams\.it\.tls: "):
        asyncio.run(run())


def test_a_reload_keeps_the_state_of_a_breaker_that_has_not_changed(staged, upstream):
    server = upstream()
    server.answer(reply(500, b"broken"), reply(200, b"hello"))
    breaker = {"breaker": {"consecutive": 1, "open": "10m", "open_cap": "10m"}}

    async def act(stage):
        assert (await stage.call("/it/x"))[0] == 500
        assert (await stage.call("/it/x"))[0] == 503
        stage.rewrite(f"upstreams: {an_upstream(server, deadline='7s', **breaker)}")
        stage.app._reload_now()
        assert len(stage.said("configuration_loaded")) == 2
        assert (await stage.call("/it/x"))[0] == 503
        breaker["breaker"]["open"] = "9m"
        stage.rewrite(f"upstreams: {an_upstream(server, **breaker)}")
        stage.app._reload_now()
        assert (await stage.call("/it/x"))[0] == 200

    staged(f"upstreams: {an_upstream(server, **breaker)}", act)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("drain: {grace: soon}", "drain.grace"),
        ("drain: [", "proxy.yaml"),
        ("upstreams: {it: {url: 'https://it', tls: {ca: /missing.pem}}}", "upstreams.it.tls: "),
    ],
)
def test_a_reload_takes_all_of_the_file_or_nothing(staged, upstream, bad, said):
    server = upstream()
    server.answer(reply(200, b"hello"))

    async def act(stage):
        before = await stage.call("/v1/config", stage.admin)
        stage.rewrite(f"state_dir: /elsewhere\n{bad}")
        stage.app._reload_now()
        (rejected,) = stage.said("configuration_rejected")
        assert said in str(rejected["problems"])
        assert await stage.call("/v1/config", stage.admin) == before
        assert await stage.call("/it/x") == (200, b"hello")
        page = (await stage.call("/metrics", stage.admin))[1].decode()
        assert 'blueprint_proxy_config_reloads_total{result="rejected"} 1.0' in page

    staged(f"upstreams: {an_upstream(server)}", act)


def test_a_reload_that_moves_a_listener_changes_nothing_and_says_so(staged, tmp_path):
    async def act(stage):
        stage.file.write_text(f"listen: {{http: 'unix:{tmp_path}/other'}}\ndrain: {{grace: 1s}}")
        for times in (1, 2):
            stage.app._reload_now()
            rejected = stage.said("configuration_rejected")
            assert len(rejected) == times
            assert "listen and tls cannot change while the proxy runs" in str(rejected[-1]["problems"])
        assert stage.app._config.drain.grace == 30.0
        assert stage.app._overview.configuration is stage.app._config

    staged("", act)


def test_a_file_that_goes_away_is_rejected_once(staged):
    async def act(stage):
        stage.file.unlink()
        await stage.until(lambda: stage.said("configuration_rejected"))
        await asyncio.sleep(0)
        assert len(stage.said("configuration_rejected")) == 1

    staged("", act)


def test_a_reload_takes_a_new_operator_token_and_a_new_state_dir(staged, tmp_path):
    (tmp_path / "token").write_text("the-first-token")
    section = f"admin: {{token: {{file: '{tmp_path}/token'}}}}\nstate_dir: '{tmp_path}/new'"

    async def act(stage):
        assert (await stage.call("/v1/config", stage.admin, "the-first-token"))[0] == 200
        (tmp_path / "token").write_text("the-second-token")
        stage.rewrite(section)
        stage.app._reload_now()
        assert (await stage.call("/v1/config", stage.admin, "the-first-token"))[0] == 401
        assert (await stage.call("/v1/config", stage.admin, "the-second-token"))[0] == 200
        assert stage.app._around.spool == tmp_path / "new" / "spool"

    _, stage = staged(section, act)
    assert "token" not in stage._read.replace("admin.token", "")


def test_signals_are_taken_before_anything_else(tmp_path, monkeypatch):
    """A signal that comes while the process starts must not kill it half-way."""
    (tmp_path / "proxy.yaml").write_text(f"listen: {{http: 'unix:{tmp_path}/h', admin: 'unix:{tmp_path}/a'}}")
    seen = []

    async def run():
        app = App(load(tmp_path / "proxy.yaml", {}))
        monkeypatch.setattr(app, "_put_in_force", lambda _: seen.append(signal.getsignal(signal.SIGHUP)))
        app.stop()
        await app.run()

    asyncio.run(run())
    assert seen != [signal.SIG_DFL]


def test_what_keeps_the_memory_to_itself_and_could_not_be_done_is_told(tmp_path, capsys):
    async def run():
        (tmp_path / "proxy.yaml").write_text(
            f"listen: {{http: 'unix:{tmp_path}/h', admin: 'unix:{tmp_path}/a'}}\nstate_dir: '{tmp_path}'"
        )
        app = App(load(tmp_path / "proxy.yaml", {}), not_hardened=("it cannot be made undumpable",))
        app.stop()
        async with asyncio.timeout(PATIENCE):
            await app.run()

    asyncio.run(run())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["why"] for line in lines if line["event"] == "not_hardened"] == ["it cannot be made undumpable"]


def test_a_reload_keeps_a_secret_and_a_new_one_is_loaded(staged, upstream, tmp_path):
    server = upstream()
    server.serve(lambda request, _: reply(200, b",".join(request.values("x-key"))))
    for name in ("a-key", "b-key"):
        (tmp_path / name).write_text(f"value-of-{name}")
    section = f"secrets: {{directory: '{tmp_path}'}}\nupstreams: "

    def with_key(name):
        return section + an_upstream(server, credential={"secret": name, "header": "x-key: {}"})

    async def act(stage):
        assert await stage.call("/it/x") == (200, b"value-of-a-key")
        stage.rewrite(with_key("b-key"))
        stage.app._reload_now()
        assert await stage.call("/it/x") == (200, b"value-of-b-key")

    staged(with_key("a-key"), act)


def test_a_job_token_that_comes_with_a_reload_ends_the_naming_of_runs_by_their_scope(staged, upstream, tmp_path):
    server = upstream()
    server.answer(reply(200, b"hello"))
    (tmp_path / "token").write_text("the-jobs-token")
    section = f"upstreams: {an_upstream(server)}"

    async def act(stage):
        assert (await stage.call("/@scene~job/it/x"))[0] == 200
        stage.rewrite(f"jobs: {{token: {{file: '{tmp_path}/token'}}}}\n{section}")
        stage.app._reload_now()
        assert (await stage.call("/@scene~job/it/x"))[0] == 403

    staged(section, act)


def test_runs_end_with_the_proxy_and_after_its_calls(staged, upstream):
    server = upstream()
    slow(server)

    async def act(stage):
        lease = stage.app._runs.open(Order("scene", "job"), Unproven("a test"))
        async with asyncio.TaskGroup() as tasks:
            await in_flight(stage, server, tasks)
            stage.app.stop()
            await stage.until(lambda: stage.said("draining"))
            assert stage.app._runs.draining
            assert lease.ending is None
            stage.app.stop()

    _, stage = staged(f"drain: {{grace: 10m}}\nupstreams: {an_upstream(server)}", act)
    assert [(line["why"], line["calls"]) for line in stage.said("run_ended")] == [("draining", 1)]
