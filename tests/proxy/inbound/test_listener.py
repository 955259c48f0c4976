"""What the connections of one listener share."""

from __future__ import annotations

import asyncio

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
