"""The stream of events, the order to drain, and probes beside held connections, with the real process."""

from __future__ import annotations

import json
import socket

from support.wire import reply

from .conftest import JOBS, OPERATORS, ask


class Listening:
    """A connection that reads GET /v1/events."""

    def __init__(self, proxy):
        self._sock = socket.create_connection(proxy.admin, timeout=10)
        self._sock.sendall(
            f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATORS}\r\n\r\n".encode()
        )
        self._file = self._sock.makefile("rb")
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self._file.readline()
        self.until_line(b": alive")

    def until_line(self, start):
        for line in self._file:
            if line.startswith(start):
                return line
        raise EOFError

    def until(self, name):
        self.until_line(f"event: {name}\n".encode())
        return json.loads(self.until_line(b"data: ").removeprefix(b"data: "))

    def read_to_the_end(self):
        return self._file.read()

    def close(self):
        self._file.close()
        self._sock.close()


def test_an_operator_hears_of_each_call_as_it_ends(proxy, upstream):
    server = upstream()
    server.serve(lambda _request, _connection: reply(200, b"ok"))
    running = proxy({"upstreams": {"it": {"url": server.url}}}, {"BLUEPRINT_PROXY_ADMIN_TOKEN": OPERATORS})
    listening = Listening(running)
    assert b"text/event-stream" in listening.head
    assert running.client().call("GET", "/it/thing").status == 200
    heard = listening.until("call_finished")
    assert (heard["upstream"], heard["outcome"], heard["status"]) == ("it", "ok", 200)
    listening.close()


def test_the_order_to_drain_is_answered_and_ends_streams_and_process(guarded, as_operator):
    listening = Listening(guarded)
    answer = as_operator("POST", "/v1/drain", body={})
    assert (answer.status, answer.json()) == (202, {"draining": True, "grace_s": 5.0})
    assert listening.until("draining")["grace"] == 5.0
    assert listening.read_to_the_end().endswith(b"0\r\n\r\n")
    listening.close()
    assert guarded.wait() == 0


def test_a_lease_held_does_not_keep_the_process(guarded, as_job, as_operator):
    opened = as_job("POST", "/v1/runs", body={"job_name": "render", "scene_id": "kitchen"}).json()
    held = socket.create_connection(guarded.admin, timeout=10)
    path = f"/v1/runs/{opened['id']}/lease"
    held.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {JOBS}\r\n\r\n".encode())
    lines = held.makefile("rb")
    while b'"held"' not in lines.readline():
        pass
    as_operator("POST", "/v1/drain", body={})
    assert b'"ended"' in lines.read()
    assert guarded.wait() == 0
    lines.close()
    held.close()


def test_probes_are_answered_however_many_connections_jobs_keep(guarded):
    kept = [socket.create_connection(guarded.admin, timeout=10) for _ in range(600)]
    try:
        assert ask(guarded, "GET", "/readyz").status == 200
        assert ask(guarded, "GET", "/v1/upstreams", token=OPERATORS).status == 200
    finally:
        for connection in kept:
            connection.close()
