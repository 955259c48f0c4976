"""Leases as a job takes them: raw HTTP from this process, or from a process of its own that can be killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from http.client import HTTPConnection, HTTPResponse
from typing import Any

JOB = r"""
import json, os, socket, sys
from http.client import HTTPConnection

admin, data, user, order = json.loads(sys.argv[1])
if user is not None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def connect(address):
    connection = HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    connection.sock.connect(address if isinstance(address, str) else tuple(address))
    return connection


def told(*said):
    print(json.dumps(said), flush=True)


if order.get("pid") == "own":
    order["pid"] = os.getpid()
api = connect(admin)
api.request("POST", "/v1/runs", json.dumps(order), {"content-type": "application/json"})
answer = api.getresponse()
said = json.loads(answer.read())
if answer.status == 201:
    holding = connect(admin)
    holding.request("GET", f"/v1/runs/{said['id']}/lease")
    lease = holding.getresponse()
    lease.readline()
told(answer.status, said)
calls = None
for line in sys.stdin:
    what, *words = line.split()
    if what == "fork":  # a child that keeps the lease's connection, as multiprocessing's would
        child = os.fork()
        if child:
            told(child)
        else:
            told(*[line.decode() for line in lease])
            break
    elif what == "call":
        calls = calls or connect(data)
        calls.request("GET", words[0])
        answer = calls.getresponse()
        answer.read()
        told(answer.status)
"""

Address = tuple[str, int] | str


def _connection(address: Address) -> HTTPConnection:
    connection = HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    connection.sock.settimeout(10)
    connection.sock.connect(address)
    return connection


class JobApi:
    """The job's side of the admin listener, one connection a request. `admin` is (host, port) or a socket's path."""

    def __init__(self, admin: Address, token: str | None = None) -> None:
        self._admin = admin
        self._fields = {} if token is None else {"authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The status, and the JSON of the answer."""
        connection = _connection(self._admin)
        fields = self._fields if body is None else {**self._fields, "content-type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), fields)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def start(self, scene: str = "scene", **order: Any) -> dict[str, Any]:
        """Takes a lease that names no process, unless `pid` is given; it must be granted."""
        status, said = self.ask("POST", "/v1/runs", {"scene_id": scene, "job_name": "job", **order})
        assert status == 201, said
        opened: dict[str, Any] = said
        return opened

    def hold(self, run_id: str) -> HeldLease:
        """Holds the lease; its first line has come."""
        connection = _connection(self._admin)
        connection.request("GET", f"/v1/runs/{run_id}/lease", headers=self._fields)
        return HeldLease(connection, connection.getresponse())

    def end(self, run_id: str, **told: Any) -> tuple[int, Any]:
        return self.ask("POST", f"/v1/runs/{run_id}/end", told)

    def runs(self) -> list[dict[str, Any]]:
        """Every run, as operators see it."""
        status, said = self.ask("GET", "/v1/runs")
        assert status == 200, said
        shown: list[dict[str, Any]] = said
        return shown


class HeldLease:
    """A connection that holds a lease."""

    def __init__(self, connection: HTTPConnection, answer: HTTPResponse) -> None:
        self._connection = connection
        self._answer = answer
        self.first = json.loads(answer.readline()) if answer.status == 200 else {"status": answer.status}

    def rest(self) -> list[dict[str, Any]]:
        """Every line until the proxy ends the answer."""
        return [json.loads(line) for line in self._answer]

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


class LeasedJob:
    """A process that takes a lease, holds it, and does what it is told. `pid: "own"` names itself."""

    def __init__(self, admin: Address, data: Address, *, user: int | None = None, **order: Any) -> None:
        order = {"scene_id": "scene", "job_name": "job", "pid": "own", **order}
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", JOB, json.dumps([admin, data, user, order])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.sep,
        )
        self.status, self.said = self.read()

    def read(self) -> list[Any]:
        """What it says next."""
        assert self.process.stdout is not None
        heard: list[Any] = json.loads(self.process.stdout.readline())
        return heard

    def tell(self, *words: str) -> list[Any]:
        """Has it do something; what it says then."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ends it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        for end in (self.process.stdin, self.process.stdout):
            assert end is not None
            end.close()
        self.process.wait()
