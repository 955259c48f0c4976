"""A whole run with keys and an operator's token, and a crash; then everything that was said is searched for them."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import pytest

from blueprint_proxy.app import App
from blueprint_proxy.config import Secret, load
from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.gemini import GeminiStandIn
from blueprint_proxy.demo.hosting import threaded
from support.proxy import RunningProxy
from support.secret_manager import SecretManagerStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

Running: TypeAlias = "tuple[RunningProxy, GeminiStandIn, SecretManagerStandIn]"

GENERATE = "/gemini/v1beta/models/gemini-2.5-flash:generateContent"
STREAM = "/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
PROMPT = json.dumps({"contents": [{"role": "user", "parts": [{"text": "a table and two chairs"}]}]}).encode()

DEFECT = """
import os
from blueprint_proxy.upstreams.gemini import GeminiKind

judge = GeminiKind.judge

def judge_or_fail(self, call, reply):
    if call.request_id == "defect":
        raise RuntimeError("a defect that quotes " + os.environ["THE_KEY"] + " and " + os.environ["THE_TOKEN"])
    return judge(self, call, reply)

GeminiKind.judge = judge_or_fail
"""
"""A defect of the worst sort: an exception that holds the secrets. The redactor is the last line of defence."""


class Secrets:
    """Random ones, which no pattern knows: the key has characters that a URL must escape."""

    def __init__(self) -> None:
        self.key = f"k-{secrets.token_hex(12)}+/~{secrets.token_hex(12)}="
        self.token = f"t-{secrets.token_hex(24)}"
        self.job = f"j-{secrets.token_hex(24)}"
        self.managed = f"m-{secrets.token_hex(12)}+/~{secrets.token_hex(12)}="
        self.rotated = f"r-{secrets.token_hex(12)}+/~{secrets.token_hex(12)}="

    def found_in(self, text: str) -> list[str]:
        """Names of the secrets that stand in the text, as they are, escaped, encoded, or in part."""
        found = []
        for name, value in vars(self).items():
            forms = {value, quote(value), quote(value, safe=""), base64.b64encode(value.encode()).decode()[:-4]}
            forms |= {value[:20], value[-20:], repr(value.encode())[2:-1]}
            if any(form in text for form in forms):
                found.append(name)
        return found


@pytest.fixture
def hidden() -> Secrets:
    return Secrets()


@pytest.fixture
def running(tmp_path: Path, hidden: Secrets) -> Iterator[Running]:
    """The real proxy, with a defect in it, before a Gemini stand-in that knows the key."""
    (tmp_path / "sitecustomize.py").write_text(DEFECT)
    gemini = GeminiStandIn(key=hidden.key)
    with threaded(gemini), SecretManagerStandIn({"wrong-key": hidden.managed}) as manager:
        config = configuration(gemini.url) | {"secret_manager": manager.config, "secrets": {"refresh": "1s"}}
        config["upstreams"]["managed"] = {**config["upstreams"]["gemini"], "credential": {"secret": "wrong-key"}}
        config["jobs"] = {"secrets": ["wrong-key"]}
        proxy = RunningProxy(tmp_path / "proxy", config, environment(hidden, tmp_path))
        try:
            yield proxy, gemini, manager
        finally:
            proxy.kill()


def configuration(url: str) -> dict[str, Any]:
    credential = {"env": "THE_KEY"}
    quick = {"retry": {"attempts": 2, "base": "1ms", "cap": "2ms"}, "breaker": {"min_calls": 1000, "consecutive": 1000}}
    return {
        "admin": {"token": {"env": "THE_TOKEN"}},
        "upstreams": {
            "gemini": {"kind": "gemini", "url": url, "credential": credential, **quick},
            "wrong": {"kind": "gemini", "url": url, "credential": {"env": "WRONG_KEY"}, **quick},
            "nobody": {"kind": "gemini", "url": "http://127.0.0.1:9", "credential": credential, **quick},
            "keyless": {"kind": "gemini", "url": url, "credential": {"secret": "no-such-key"}, **quick},
        },
    }


def environment(hidden: Secrets, directory: Path) -> dict[str, str]:
    return {
        "THE_KEY": hidden.key,
        "THE_TOKEN": hidden.token,
        "WRONG_KEY": hidden.key[:-1] + "!",
        "PYTHONPATH": str(directory),
    }


def until_said(proxy: RunningProxy, event: str) -> None:
    deadline = time.monotonic() + 20
    while not any(line.get("event") == event for line in proxy.log_events()):
        assert time.monotonic() < deadline, f"never said: {event}"
        time.sleep(0.02)


def ask(
    address: tuple[str, int] | str, method: str, path: str, body: bytes | None = None, **fields: str
) -> tuple[int, str]:
    """Status, and the whole reply as text. A reply that is cut short or never comes is status 0."""
    assert isinstance(address, tuple)
    connection = HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        head = f"{answer.reason} {answer.getheaders()!r}"
        return answer.status, head + answer.read().decode("latin-1")
    except (OSError, HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


def command(proxy: RunningProxy, env: dict[str, str], *words: str) -> str:
    """What a command says, with all the secrets in its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "blueprint_proxy", *words, "--config", str(proxy.config_file)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(proxy.directory), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_no_key_and_no_token_in_anything_that_a_whole_run_says(
    running: Running, hidden: Secrets, tmp_path: Path
) -> None:
    proxy, gemini, manager = running
    heard: list[str] = []

    def call(method: str, path: str, body: bytes | None = PROMPT, **fields: str) -> int:
        status, text = ask(proxy.http, method, path, body, **fields)
        heard.append(text)
        return status

    def script(*faults: Fault) -> None:
        gemini.script = type(gemini.script)(faults)

    own = {"x_goog_api_key": hidden.job, "authorization": f"Bearer {hidden.job}"}
    assert call("POST", GENERATE, **own) == 200
    assert call("POST", STREAM, **own) == 200
    assert call("POST", f"{GENERATE}?key={hidden.job}", **own) == 200
    assert call("GET", "/gemini/v1beta/models", None) == 200
    assert call("POST", GENERATE.replace("gemini/", "wrong/", 1)) == 400
    assert "API_KEY_INVALID" in heard[-1]
    managed = GENERATE.replace("gemini/", "managed/", 1)
    assert call("POST", managed) == 400
    manager.add("wrong-key", hidden.rotated)  # no better, and so refused too when it comes
    until_said(proxy, "secret_changed")
    assert call("POST", managed) == 400
    manager.stop()
    until_said(proxy, "secrets_kept")
    script(Fault("stall", seconds=0.5))
    assert call("POST", GENERATE, x_blueprint_timeout_ms="100") == 504
    script(Fault("throttle", retry_delay=0.01, times=2))
    assert call("POST", GENERATE) == 429
    script(Fault("reset", times=9))
    assert call("POST", GENERATE) == 502
    script(Fault("status", status=503), Fault("status", status=500))
    assert call("POST", GENERATE) == 500
    script(Fault("cut", after=10))
    assert call("POST", STREAM) in {0, 200}
    assert call("POST", GENERATE.replace("gemini/", "nobody/", 1)) == 502
    assert call("POST", GENERATE.replace("gemini/", "keyless/", 1)) == 403
    assert "no-such-key" in heard[-1]
    assert call("POST", "/no-such-upstream/x", **own) == 404
    assert call("POST", GENERATE, x_blueprint_timeout_ms=hidden.job) == 400
    script(Fault("status", status=503))
    assert call("POST", GENERATE, x_request_id="defect") in {0, 500, 502}
    with socket.create_connection(proxy.http) as rude:  # type: ignore[arg-type]
        rude.sendall(f"GET /gemini HTTP/1.1\r\nHost: x\r\nX-Goog-Api-Key : {hidden.job}\r\n\r\n".encode())
        heard.append(rude.recv(65536).decode("latin-1"))

    proxy.write_config_text(
        "admin: {token: " + hidden.token + "}\nupstreams: {gemini: {credential: " + hidden.key + "}}"
    )
    operator = {"authorization": f"Bearer {hidden.token}"}
    pages = ("/metrics", "/v1/upstreams", "/v1/config", "/openapi.json", "/readyz", "/nowhere")
    heard += [ask(proxy.admin, "GET", path, **operator)[1] for path in pages]
    assert '"gemini"' in heard[-5]
    assert "wrong-key" in heard[-4]
    heard.append(ask(proxy.admin, "GET", "/v1/config", authorization=f"Bearer {hidden.token}x")[1])
    order = json.dumps({"action": hidden.token}).encode()
    said = ask(proxy.admin, "POST", "/v1/upstreams/gemini/breaker", order, content_type="application/json", **operator)
    assert said[0] == 422
    heard.append(said[1])

    env = environment(hidden, tmp_path / "nowhere")
    heard.append(command(proxy, env, "validate"))
    assert "a token does not stand in the file itself" in heard[-1]
    proxy.config_file.write_text(json.dumps(proxy.config))
    heard += [command(proxy, env, *words) for words in (["explain", "gemini"], ["env"], ["validate"], ["status"])]
    assert [len(text) > 20 for text in heard[-4:]] == [True] * 4

    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    heard.append(proxy.log)
    assert "configuration_rejected" in proxy.log
    assert "RuntimeError: a defect that quotes" in proxy.log
    assert "credential_rejected" in proxy.log
    assert all(exchange is not None for exchange in gemini.exchanges)
    assert [(number, names) for number, text in enumerate(heard) if (names := hidden.found_in(text))] == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_leaves_no_memory_behind(running: Running, hidden: Secrets, number: signal.Signals) -> None:
    proxy, _, _ = running
    assert ask(proxy.http, "POST", GENERATE, PROMPT)[0] == 200
    limits = Path(f"/proc/{proxy.pid}/limits").read_text()
    assert limits[limits.index("Max core file size") :].split()[4:6] == ["0", "0"]
    assert Path(f"/proc/{proxy.pid}/environ").stat().st_uid == 0  # undumpable: its files are root's, whoever it is
    proxy.signal(number)
    _, status = os.waitpid(proxy.pid, 0)
    proxy.process.returncode = -number
    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status)
    assert not [file.name for file in proxy.directory.iterdir() if "core" in file.name]
    assert hidden.found_in(proxy.log) == []


def test_the_search_finds_what_it_looks_for(hidden: Secrets) -> None:
    for value in (hidden.key, quote(hidden.key, safe=""), base64.b64encode(hidden.key.encode()).decode()):
        assert hidden.found_in(f"before {value} after") == ["key"]
    assert hidden.found_in(f"{hidden.token[:24]} cut, {hidden.job}") == ["token", "job"]
    assert hidden.found_in("nothing") == []


def test_no_object_of_the_process_shows_a_key_or_a_token(hidden: Secrets, tmp_path: Path) -> None:
    """Every object of ours that lives while a call is in flight, by its repr and by its str."""
    gemini = GeminiStandIn(key=hidden.key, faults=[Fault("stall", seconds=30, skip=1)])
    file = tmp_path / "config.yaml"
    listen = {"http": f"unix:{tmp_path}/h", "admin": f"unix:{tmp_path}/a"}
    shown: dict[str, str] = {}
    environ = environment(hidden, tmp_path)

    def call() -> bytes:
        with socket.socket(socket.AF_UNIX) as job:
            job.connect(f"{tmp_path}/h")
            job.sendall(
                f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PROMPT)}\r\n\r\n".encode() + PROMPT
            )
            return job.recv(65536)

    async def look() -> None:
        app = App(load(file, environ))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(app.run())
            while not app._overview.listening:  # noqa: ASYNC110 -- it sets no event
                await asyncio.sleep(0.01)
            assert (await asyncio.to_thread(call)).startswith(b"HTTP/1.1 200")
            waiting = tasks.create_task(asyncio.to_thread(call))
            while len(gemini.exchanges) < 2:  # noqa: ASYNC110 -- it sets no event
                await asyncio.sleep(0.01)
            gc.unfreeze()  # what the start-up made would not be listed
            for thing in gc.get_objects():
                module = str(type(thing).__module__)
                if module.startswith("blueprint_proxy.") and ".demo." not in module:
                    shown[type(thing).__name__] = shown.get(type(thing).__name__, "") + f"{thing!r} {thing} {thing:}"
            app.stop()
            app.stop()
            await asyncio.wait([serving, waiting])

    with threaded(gemini), pytest.MonkeyPatch.context() as patch:
        config = {**configuration(gemini.url), "listen": listen, "state_dir": str(tmp_path / "state")}
        file.write_text(json.dumps(config))
        for name, value in environ.items():
            if name != "PYTHONPATH":
                patch.setenv(name, value)
        handlers = list(logging.getLogger().handlers)
        try:
            asyncio.run(look())
        finally:
            logging.getLogger().handlers[:] = handlers
    of_interest = {
        "Config",
        "Upstream",
        "Credential",
        "Secret",
        "HeldSecret",
        "SecretStore",
        "Call",
        "ClientConnection",
    }
    assert of_interest - set(shown) == set()
    assert {name: found for name, text in shown.items() if (found := hidden.found_in(text))} == {}
    assert Secret(hidden.key).reveal() == hidden.key
