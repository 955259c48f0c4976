"""The proxy as an operating system sees it: its start, its exit codes, its signals, its files, its size."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from http.client import HTTPSConnection
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.proxy import RunningProxy, free_port
from support.tls import make_certificates
from support.wire import PATIENCE, reply, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.proxy import StartProxy
    from support.raw_upstream import StartUpstream

MIB = 1024 * 1024
IDLE_RSS = 70 * MIB


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def run(*words: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(env or {})}  # noqa: TID251 -- the child's
    return subprocess.run(
        [sys.executable, "-m", "blueprint_proxy", *words],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write(directory: Path, config: dict[str, Any]) -> str:
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump({"state_dir": str(directory / "state"), **config}))
    return str(file)


def fails_in_one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # log lines are JSON
    assert len(said) == 1, done.stderr
    return said[0]


# Start


CALLS_BEFORE_FASTAPI = """
import http.client, os, sys

class Watch:
    asked = None

    def find_spec(self, name, path=None, target=None):
        if name == "fastapi" and self.asked is None:
            self.asked = ask()
            os.write(2, f"ASKED {self.asked}\\n".encode())  # in one piece: the log writes to the same place

def ask():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
        connection.request("GET", "/it/first")
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError as error:
        return repr(error)

assert "fastapi" not in sys.modules
sys.meta_path.insert(0, Watch())
sys.argv = ["blueprint-proxy", "serve", "--config", sys.argv[1]]
from blueprint_proxy.cli import main
main()
"""


def test_calls_are_served_before_fastapi_is_imported(upstream: StartUpstream, tmp_path: Path) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    port = free_port()
    file = write(
        tmp_path,
        {
            "listen": {"http": f"127.0.0.1:{port}", "admin": f"unix:{tmp_path}/admin"},
            "upstreams": {"it": {"url": server.url}},
        },
    )
    with subprocess.Popen(
        [sys.executable, "-c", CALLS_BEFORE_FASTAPI.replace("PORT", str(port)), file], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            asked = next(line for line in process.stderr if line.startswith("ASKED"))
        finally:
            process.terminate()
        process.stderr.read()
    assert asked == "ASKED (200, b'hello')\n"
    assert process.returncode == 0


def test_idle_it_takes_less_than_70_mib_also_after_a_scrape(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    running = proxy({"upstreams": {"it": {"url": server.url}}})
    client = running.client()
    for _ in range(100):
        assert client.call("GET", "/it/x").status == 200
    for path in ("/metrics", "/v1/upstreams", "/v1/config", "/openapi.json"):
        assert running.get_admin(path)[0] == 200
    assert running.rss() < IDLE_RSS
    client.close()


def test_health_and_upstreams_are_told(proxy: StartProxy, upstream: StartUpstream) -> None:
    running = proxy({"upstreams": {"it": {"url": upstream().url}}})
    for path, said in (
        ("/livez", b'"alive":true'),
        ("/readyz", b'"ready":true'),
        ("/metrics", b"blueprint_proxy_breaker_state{"),
        ("/v1/upstreams", b'"name":"it"'),
    ):
        status, body = running.get_admin(path)
        assert status == 200
        assert said in body


# Exit codes


def test_a_bad_configuration_ends_the_start_with_every_problem_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("listn: {}\ndrain:\n  grace: soon\nupstreams:\n  x: {url: ftp://x}\n")
    done = run("serve", "--config", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [f"{file}:{line}" for line in (1, 3, 5)]


@pytest.mark.parametrize("listener", ["http", "admin"])
def test_an_address_in_use_ends_the_process_in_one_line(tmp_path: Path, listener: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        listen = {"http": f"127.0.0.1:{free_port()}", "admin": f"127.0.0.1:{free_port()}", listener: taken}
        done = run("serve", "--config", write(tmp_path, {"listen": listen}))
    assert fails_in_one_line(done, 1) == f"the {listener} listener cannot bind {taken}: Address already in use"


def test_two_proxies_that_start_together_do_not_share_an_address(proxy: StartProxy, tmp_path: Path) -> None:
    running = proxy({})
    file = write(tmp_path, {"listen": running.config["listen"]})
    assert "the http listener cannot bind" in fails_in_one_line(run("serve", "--config", file), 1)
    assert running.get_admin("/readyz")[0] == 200


def test_tls_files_that_are_missing_end_the_process_in_one_line(tmp_path: Path) -> None:
    listen = {"http": f"127.0.0.1:{free_port()}", "admin": f"unix:{tmp_path}/a"}
    done = run("serve", "--config", write(tmp_path, {"listen": listen, "tls": {"cert": "/no/c", "key": "/no/k"}}))
    assert fails_in_one_line(done, 1) == "tls: /no/c, /no/k: No such file or directory"


def test_a_state_dir_that_cannot_be_made_costs_the_replay_and_says_so(
    proxy: StartProxy, upstream: StartUpstream, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    server = upstream()
    server.answer(reply(200, b"hello"))
    it = {"url": server.url, "body": {"memory": "16KiB"}}
    running = proxy({"state_dir": str(tmp_path / "file" / "state"), "upstreams": {"it": it}})
    client = running.client()
    assert client.call("PUT", "/it/x", body=b"x" * 200_000).status == 200
    assert server.requests[0].body == b"x" * 200_000
    eventually(lambda: any(line["event"] in {"spool_failed", "body_not_replayable"} for line in running.log_events()))
    assert "Not a directory" in running.log
    client.close()


# Signals


def a_call_that_hangs(proxy: StartProxy, upstream: StartUpstream, grace: str) -> tuple[RunningProxy, Any]:
    server = upstream()
    server.serve(lambda _, connection: connection.wait_closed().encode())
    running = proxy({"upstreams": {"it": {"url": server.url, "retry": {"attempts": 1}}}, "drain": {"grace": grace}})
    client = running.client()
    client.send(request("GET", "/it/hangs"))
    server.wait_for_requests(1)
    return running, client


def drained(running: RunningProxy) -> list[bool]:
    return [line["drained"] for line in running.log_events() if line["event"] == "stopped"]


def test_a_second_sigterm_ends_it_at_once(proxy: StartProxy, upstream: StartUpstream) -> None:
    running, client = a_call_that_hangs(proxy, upstream, "1h")
    running.signal(signal.SIGTERM)
    eventually(lambda: any(line["event"] == "draining" for line in running.log_events()))
    assert running.alive
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert drained(running) == [False]
    client.close()


def test_a_second_sigterm_ends_a_request_of_an_operator_too(proxy: StartProxy, upstream: StartUpstream) -> None:
    running, client = a_call_that_hangs(proxy, upstream, "1h")
    assert isinstance(running.admin, tuple)
    with socket.create_connection(running.admin) as half:
        half.sendall(b"POST /v1/upstreams/it/breaker HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        half.sendall(b"Content-Length: 100\r\n\r\n{")
        running.signal(signal.SIGTERM)
        eventually(lambda: any(line["event"] == "draining" for line in running.log_events()))
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    client.close()


def test_the_log_says_whether_every_call_ended_by_itself(proxy: StartProxy, upstream: StartUpstream) -> None:
    cut, client = a_call_that_hangs(proxy, upstream, "100ms")
    whole = proxy({})
    for running in (cut, whole):
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert (drained(cut), drained(whole)) == ([False], [True])
    client.close()


def test_sighup_while_it_starts_does_not_kill_it(tmp_path: Path) -> None:
    file = write(tmp_path, {"listen": {"http": f"unix:{tmp_path}/h", "admin": f"unix:{tmp_path}/a"}})
    with subprocess.Popen(
        [sys.executable, "-m", "blueprint_proxy", "serve", "--config", file], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if '"listener": "http"' in line)
        for _ in range(20):
            process.send_signal(signal.SIGHUP)
        process.terminate()
        process.stderr.read()
    assert process.returncode == 0


# Unix sockets


def test_both_unix_sockets_are_the_owners_alone_and_gone_at_the_end(proxy: StartProxy, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.sock" for name in ("http", "admin")}
    running = proxy({"listen": {name: f"unix:{path}" for name, path in paths.items()}})
    eventually(lambda: all(path.exists() for path in paths.values()))
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths.values()} == {0o600}
    running.stop()
    assert not any(path.exists() for path in paths.values())


def test_a_unix_socket_that_is_served_is_refused(proxy: StartProxy, tmp_path: Path) -> None:
    running = proxy({"listen": {"http": f"unix:{tmp_path}/h"}})
    file = write(tmp_path, {"listen": {"http": f"unix:{tmp_path}/h", "admin": f"unix:{tmp_path}/a"}})
    said = fails_in_one_line(run("serve", "--config", file), 1)
    assert said == f"the http listener cannot bind unix:{tmp_path}/h: another process serves this socket"
    client = running.client()
    assert client.call("GET", "/nowhere/x").status == 404
    client.close()


# Tokens and TLS, on an address that others reach


@pytest.fixture
def open_to_others(tmp_path: Path) -> dict[str, Any]:
    made = make_certificates(tmp_path)
    return {
        "listen": {"http": f"0.0.0.0:{free_port()}", "admin": f"unix:{tmp_path}/admin.sock"},
        "tls": {"cert": str(made.client_cert), "key": str(made.client_key)},
        "jobs": {"token": {"env": "JOBS"}},
    }


def test_an_address_that_others_reach_is_not_served_without_tls_and_a_token(
    open_to_others: dict[str, Any], tmp_path: Path
) -> None:
    del open_to_others["tls"], open_to_others["jobs"]
    said = fails_in_one_line(run("serve", "--config", write(tmp_path, open_to_others)), 2)
    assert said.endswith("listen.http: is not a loopback address, which needs tls and jobs.token")


def test_a_job_on_such_an_address_shows_its_token(
    proxy: StartProxy, upstream: StartUpstream, open_to_others: dict[str, Any]
) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    open_to_others["upstreams"] = {"it": {"url": server.url}}
    running = proxy(open_to_others, {"JOBS": "jobs-token-123456"})
    trust = ssl._create_unverified_context()

    def call(**headers: str) -> tuple[int, str | None]:
        connection = HTTPSConnection("127.0.0.1", running.http[1], context=trust, timeout=10)
        try:
            connection.request("GET", "/it/x", headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("x-blueprint-error")
        finally:
            connection.close()

    assert call() == (401, "unauthenticated")
    assert call(**{"x-blueprint-token": "jobs-token-12345"}) == (401, "unauthenticated")
    assert call(**{"x-blueprint-token": "jobs-token-123456"}) == (200, None)
    assert [field for field in server.requests[0].names if field.lower().startswith(b"x-blueprint")] == []


@pytest.mark.parametrize("where", ["loopback", "unix", "tls"])
def test_status_asks_the_admin_listener_wherever_it_is(
    proxy: StartProxy, upstream: StartUpstream, tmp_path: Path, where: str
) -> None:
    server = upstream()
    config: dict[str, Any] = {"upstreams": {"it": {"url": server.url, "mode": "observe"}}}
    environment = {"BLUEPRINT_PROXY_ADMIN_TOKEN": "operators-token-123456"}
    listen = {
        "loopback": f"127.0.0.1:{free_port()}", "unix": f"unix:{tmp_path}/admin", "tls": f"0.0.0.0:{free_port()}",
    }  # fmt: skip
    config["listen"] = {"http": f"unix:{tmp_path}/http", "admin": listen[where]}
    if where == "tls":
        made = make_certificates(tmp_path)
        config["tls"] = {"cert": str(made.client_cert), "key": str(made.client_key)}
        file = write(tmp_path, config)
        with subprocess.Popen(
            [sys.executable, "-m", "blueprint_proxy", "serve", "--config", file],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            try:
                next(line for line in process.stderr if '"listener": "admin"' in line)
                done = run("status", "--config", file, env=environment)
                refused = run("status", "--config", file)
            finally:
                process.terminate()
            process.stderr.read()
    else:
        running = proxy(config, environment)
        file = str(running.config_file)
        eventually(lambda: '"listener": "admin"' in running.log)
        done = run("status", "--config", file, env=environment)
        refused = run("status", "--config", file)
    assert done.returncode == 0, done.stderr
    assert ["it", "observe", "closed", "0", "0", "0", server.url] in [row.split() for row in done.stdout.splitlines()]
    assert refused.returncode in {1, 2}
    if where != "tls":
        assert "the operator token is needed" in fails_in_one_line(refused, 1)


# Reload


def test_a_reload_under_load_drops_no_call(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    config = {"upstreams": {"it": {"url": server.url, "retry": {"attempts": 1}}}}
    running = proxy(config)
    done = threading.Event()
    odd: list[str] = []

    def job() -> None:
        client = running.client()
        while not done.is_set():
            answer = client.call("GET", "/it/x")
            if answer.status != 200:
                odd.append(f"{answer.status} {answer.error}")
        client.close()

    jobs = [threading.Thread(target=job) for _ in range(4)]
    for one in jobs:
        one.start()
    for number in range(5):
        running.write_config({"upstreams": {"it": {**config["upstreams"]["it"], "deadline": f"{number + 1}m"}}})
        eventually(lambda loads=number + 2: running.log.count('"configuration_loaded"') >= loads)
    done.set()
    for one in jobs:
        one.join(PATIENCE)
    assert odd == []
