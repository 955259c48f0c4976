"""A stand-in for the sidecar's job API that answers what a test scripts and remembers what it was asked.

Standard library only: the clients' tests run on Python 3.10, where the sidecar does not.
"""

from __future__ import annotations

import json
import queue
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 10.0

UPSTREAMS = {
    "gemini": {"kind": "gemini", "url": "http://127.0.0.1:8900/gemini", "credential": True, "served": True},
    "gcs": {"kind": "gcs", "url": "http://127.0.0.1:8900/gcs", "credential": True, "served": True},
    "particulate": {"kind": "particulate", "url": "http://x/particulate", "credential": False, "served": True},
    "geniesim": {"kind": "geniesim", "url": "http://x/geniesim", "credential": False, "served": False},
}
ADDRESSES = {"version": "1", "http": "http://127.0.0.1:8900", "grpc": None, "admin": "x", "upstreams": UPSTREAMS}


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int


class Said(NamedTuple):
    """An answer. `raw` replaces all of it; `close` ends the connection after it, `silent` before it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default, never altered
    raw: bytes | None = None
    close: bool = False
    silent: bool = False


Answering = Callable[[Asked], Said]


class ScriptedSidecar:
    """Listens until `stop()`. `script(method, path, *answers)` sets what a path answers, the last for good.

    Addresses and permits are answered without a script. A lease is held until `lease_events.put(None)`, which breaks
    its connection; any other object is sent as a line.
    """

    def __init__(self, *, unix: Path | None = None) -> None:
        self.asked: list[Asked] = []
        self.leases: queue.Queue[Asked] = queue.Queue()
        self.lease_events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.left: queue.Queue[str] = queue.Queue()
        self._scripts: dict[tuple[str, str], list[Said | Answering]] = {}
        self._permits = 0
        self._connections = 0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"sidecar": self})
        self._server = _Unix(str(unix), handler) if unix is not None else _Tcp(("127.0.0.1", 0), handler)
        self.url = f"unix:{unix}" if unix is not None else f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def script(self, method: str, path: str, *answers: Said | Answering) -> None:
        self._scripts[method, path] = list(answers)

    def stop(self) -> None:
        self.lease_events.put(None)
        self._server.shutdown()
        self._thread.join(PATIENCE)
        self._server.server_close()

    def of(self, method: str, path: str) -> list[Asked]:
        return [one for one in self.asked if (one.method, one.path) == (method, path)]

    def guard_traffic(self) -> list[dict[str, Any]]:
        """What was said to the guard, permits and settlements in order."""
        return [one.body for one in self.asked if one.path.startswith("/v1/guard/")]

    def answer(self, asked: Asked) -> Said:
        with self._lock:
            self.asked.append(asked)
            script = self._scripts.get((asked.method, asked.path))
            chosen = None
            if script:
                chosen = script.pop(0) if len(script) > 1 else script[0]
        if chosen is not None:  # without the lock: it may wait for what another request brings
            return chosen(asked) if callable(chosen) else chosen
        with self._lock:
            if asked.path == "/v1/addresses":
                return Said(200, ADDRESSES)
            if asked.path.startswith("/v1/guard/"):
                return Said(200, {"again": False} if asked.path.count("/") == 4 else self.permit())
            if asked.path == "/v1/runs":
                return Said(201, {"id": "r" * 22, "scope": "scene~job", "watched": True, "addresses": ADDRESSES})
            if asked.path.endswith("/end"):
                return Said(200, {"scope": "scene~job", "why": "told", "outcome": asked.body["outcome"]})
            return Said(404, {"error": {"code": 404, "reason": "not_found", "message": "no such path"}})

    def permit(self, attempt: int = 1) -> dict[str, Any]:
        self._permits += 1
        return {"permit": f"p{self._permits}", "attempt": attempt, "expires_in_s": 60.0}

    def again(self, attempt: int) -> Answering:
        return lambda _: Said(200, {"again": True, **self.permit(attempt)})

    def new_connection(self) -> int:
        with self._lock:
            self._connections += 1
            return self._connections


def refused(status: int, reason: str, message: str = "no", **headers: str) -> Said:
    """A refusal as the sidecar makes it; `headers` with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"code": status, "reason": reason, "message": message}
    return Said(status, {"error": error}, {"x-blueprint-error": reason, "x-blueprint-source": "proxy", **named})


@contextmanager
def scripted_sidecar(*, unix: Path | None = None) -> Iterator[ScriptedSidecar]:
    sidecar = ScriptedSidecar(unix=unix)
    try:
        yield sidecar
    finally:
        sidecar.stop()


class _Handler(BaseHTTPRequestHandler):
    sidecar: ScriptedSidecar
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False

    def setup(self) -> None:
        super().setup()
        self.number = self.sidecar.new_connection()

    def address_string(self) -> str:
        return "job"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, json.loads(content) if content else {}, self.number)
        script = self.sidecar._scripts.get((asked.method, asked.path))
        if self.path.endswith("/lease") and not script:
            self._hold(asked)
            return
        said = self.sidecar.answer(asked)
        self.close_connection = said.close or said.silent
        if said.silent:
            return
        if said.raw is not None:
            self.wfile.write(said.raw)
            return
        body = json.dumps(said.body).encode()
        head = [f"HTTP/1.1 {said.status} Said", "content-type: application/json", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in said.headers.items()]
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)

    def _hold(self, asked: Asked) -> None:
        self.close_connection = True
        with self.sidecar._lock:
            self.sidecar.asked.append(asked)
        self.wfile.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        self._line({"event": "held"})
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        self.sidecar.leases.put(asked)
        while (event := self.sidecar.lease_events.get(timeout=60)) is not None:
            self._line(event)
            if event.get("event") in {"ended", "left"}:
                break
        with suppress(OSError):
            self.connection.shutdown(2)
        watcher.join(PATIENCE)

    def _watch(self) -> None:
        with suppress(OSError):
            self.connection.recv(1)
        self.sidecar.left.put("left")
        self.sidecar.lease_events.put({"event": "left"})

    def _line(self, event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        with suppress(OSError):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
