"""What the connections of one listener share."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from blueprint_proxy.runs.lease import Order
from blueprint_proxy.runs.processes import Unproven, Watched
from blueprint_proxy.telemetry.events import CallRefused
from support.server_connection import Served, connect, ok
from support.virtual_time import virtual_time

GET = b"GET /it/thing HTTP/1.1\r\nHost: here:1\r\n\r\n"


async def answers_at_once(call):
    return ok()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@virtual_time
async def test_draining_ends_idle_connections_at_once_and_others_after_their_reply():
    let_go = asyncio.Event()

    async def answer(call):
        await let_go.wait()
        return ok()

    busy, busy_transport, listener = connect(Served(answer))
    idle_transport = type(busy_transport)()
    listener().connection_made(idle_transport)
    busy.data_received(GET)
    await settle()
    listener.drain()
    assert (idle_transport.ended, busy_transport.ended) == (["close"], [])
    let_go.set()
    await settle()
    assert b"Connection: close" in busy_transport.take()
    assert busy_transport.ended == ["close"]


@virtual_time
async def test_a_request_during_the_drain_is_refused():
    connection, transport, listener = connect(Served(answers_at_once))
    listener.draining = True
    connection.data_received(GET)
    await settle()
    written = transport.take()
    assert b"x-blueprint-error: draining" in written
    assert b"x-blueprint-not-sent: true" in written


@virtual_time
async def test_a_request_that_has_been_here_before_is_a_loop():
    connection, transport, _ = connect(Served(answers_at_once))
    connection.data_received(GET[:-2] + b"Via: 1.1 other, 1.1 blueprint-proxy-test\r\n\r\n")
    await settle()
    assert transport.take().startswith(b"HTTP/1.1 508 ")


@virtual_time
async def test_a_token_is_asked_of_every_request_where_there_is_one():
    served = Served(answers_at_once)
    connection, transport, _ = connect(served, token=b"right")
    connection.data_received(GET)
    connection.data_received(GET[:-2] + b"x-blueprint-token: wrong\r\n\r\n")
    await settle()
    assert transport.take().count(b"HTTP/1.1 401 ") == 2
    connection.data_received(GET[:-2] + b"x-blueprint-token: right\r\n\r\n")
    await settle()
    assert transport.take().startswith(b"HTTP/1.1 200 ")
    assert served.calls[0].headers.get(b"x-blueprint-token") is None


@virtual_time
async def test_request_ids_of_this_proxy_differ():
    _, _, listener = connect(Served(answers_at_once))
    assert listener.request_id(None) != listener.request_id(None)
    assert listener.request_id(b"given-1") == "given-1"
    assert listener.request_id(b"x" * 129) != "x" * 129


@virtual_time
async def test_the_listener_is_quiet_when_its_last_connection_is_lost():
    connection, _, listener = connect(Served(answers_at_once))
    assert not listener.quiet.is_set()
    connection.connection_lost(None)
    assert listener.quiet.is_set()


@virtual_time
async def test_a_refusal_before_there_is_a_call_is_told():
    connection, _, listener = connect(Served(answers_at_once))
    told = []
    listener.telemetry.subscribe(told.append, [CallRefused])
    connection.data_received(GET.replace(b"/it/", b"/nowhere/"))
    await settle()
    assert [(event.upstream, event.reason) for event in told] == [("", "unknown_upstream")]


# The run of a call


class Stage:
    """A connection, what it calls, and the runs it may belong to."""

    def __init__(self):
        self.served = Served(answers_at_once)
        self.connection, self.transport, self.listener = connect(self.served)
        self.runs = self.listener.runs

    def lease(self, scene, process=None):
        return self.runs.open(Order(scene, "job"), process or Unproven("a test"))

    async def run_of(self, path="", field=""):
        """The run of a call with this in its path and its field; the answer's first line where there was no call."""
        before = len(self.served.calls)
        fields = f"x-blueprint-run: {field}\r\n" if field else ""
        prefix = f"/@{path}" if path else ""
        self.connection.data_received(f"GET {prefix}/it/thing HTTP/1.1\r\nHost: here:1\r\n{fields}\r\n".encode())
        await settle()
        written = self.transport.take()
        return self.served.calls[-1].run if len(self.served.calls) > before else written.partition(b"\r\n")[0]


def staged(test):
    def run():
        @virtual_time
        async def played():
            stage = Stage()
            try:
                await test(stage)
            finally:
                stage.runs.drain()
                stage.connection.connection_lost(None)

        played()

    run.__name__ = test.__name__
    return run


@staged
async def test_without_any_lease_a_call_has_no_run(stage):
    assert await stage.run_of() is None


@staged
async def test_the_only_lease_is_the_run_of_a_call_that_names_none(stage):
    lease = stage.lease("one")
    assert await stage.run_of() is lease.run
    stage.lease("two")
    assert await stage.run_of() is None


@staged
async def test_the_field_beats_the_path_and_the_path_the_only_lease(stage):
    one, two = stage.lease("one"), stage.lease("two")
    assert await stage.run_of(path=one.id) is one.run
    assert await stage.run_of(path=one.id, field=two.id) is two.run
    stage.runs.end(two, "told")
    assert (await stage.run_of(field="other~job")).scope == "other~job"


@staged
async def test_a_scope_in_path_or_field_means_its_lease(stage):
    one = stage.lease("one")
    stage.lease("two")
    assert await stage.run_of(path="one~job") is one.run
    assert await stage.run_of(field="one~job") is one.run


@staged
async def test_an_unknown_lease_does_not_fail_its_calls_and_is_not_taken_for_another(stage):
    stage.lease("one")
    assert await stage.run_of(field="0" * 32) is None
    assert await stage.run_of(path="0" * 32) is None


@staged
async def test_a_scope_is_forbidden_where_jobs_have_a_token(stage):
    stage.runs.by_scope = False
    assert await stage.run_of(path="one~job") == b"HTTP/1.1 403 Forbidden"
    assert await stage.run_of(field="one~job") == b"HTTP/1.1 403 Forbidden"


@pytest.mark.parametrize("field", ["a b", "a/b", "x" * 201, "a~b~c", "~"])
def test_a_run_that_cannot_be_one_is_a_bad_request(field):
    @virtual_time
    async def played():
        assert await Stage().run_of(field=field) == b"HTTP/1.1 400 Bad Request"

    played()


@staged
async def test_over_a_unix_socket_the_process_decides_between_several_leases(stage):
    theirs, ours = socket.socketpair()  # whose other end is this very process
    with theirs, ours:
        stage.transport.get_extra_info = lambda name, default=None: ours if name == "socket" else default
        stage.lease("one")
        own = stage.lease("two", Watched(os.getpid(), os.pidfd_open(os.getpid()), launched=False))
        assert await stage.run_of() is own.run
        stage.lease("three")
        assert await stage.run_of() is own.run
        stage.runs.end(own, "told")
        assert await stage.run_of() is None


@staged
async def test_whose_process_it_is_is_looked_up_once_while_no_lease_comes_or_goes(stage):
    asked = []
    theirs, ours = socket.socketpair()
    with theirs, ours:
        stage.transport.get_extra_info = lambda name, default=None: ours if name == "socket" else default
        stage.runs.of_process = asked.append
        stage.lease("one"), stage.lease("two")
        for _ in range(3):
            await stage.run_of()
        assert asked == [os.getpid()]
        stage.lease("three")
        await stage.run_of()
        assert asked == [os.getpid()] * 2
