"""Calls as exchanges on pooled connections."""

import asyncio
import contextlib
import re

import pytest

from blueprint_proxy.bodies.request import RequestBody
from blueprint_proxy.bodies.stream import BodyStream
from blueprint_proxy.errors import UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.outbound.connection import StaleConnection
from blueprint_proxy.outbound.http1 import Http1Transport
from blueprint_proxy.outbound.pool import Origin, Pool


@pytest.fixture
def transport(wheel):
    def transport(up, **where):
        pool = Pool(Origin("127.0.0.1", up.port), wheel, cap=4)
        where = {"authority": b"here.test:80", "base_path": b"/base", **where}
        return Http1Transport(pool, **where)

    return transport


def test_a_request_is_the_calls_own_lines_with_the_upstreams_host(run, upstream, transport, a_call):
    async def main():
        async with upstream() as up:
            call = a_call("GET", b"/a%2Fb?q=%C3", headers=Fields(b"X-Odd:  \xe9 \r\nVia: 1.1 other\r\nx-odd: 2\r\n"))
            reply = await transport(up)(call)
            assert reply.status == 200
            assert up.ends[0].received == (
                b"GET /base/a%2Fb?q=%C3 HTTP/1.1\r\nHost: here.test:80\r\n"
                b"X-Odd:  \xe9 \r\nVia: 1.1 other\r\nx-odd: 2\r\n\r\n"
            )

    run(main())


def test_a_kept_connection_serves_the_next_call(run, upstream, transport, a_call):
    async def main():
        async with upstream() as up:
            send = transport(up)
            for _ in range(3):
                await send(a_call())
            assert len(up.ends) == 1

    run(main())


def test_a_whole_body_goes_up_as_it_is(run, upstream, transport, a_call):
    async def main():
        async with upstream() as up:
            await transport(up)(a_call("POST", headers=Fields(b"Content-Length: 5\r\n"), body=b"whole"))
            assert up.ends[0].received.endswith(b"\r\nContent-Length: 5\r\n\r\nwhole")

    run(main())


def test_a_body_of_unknown_length_is_framed_in_chunks_with_its_trailers(
    run, upstream, transport, a_call, job, wait_until
):
    async def main():
        async with upstream() as up:
            up.answer = None
            body = RequestBody(job, None)
            sending = asyncio.ensure_future(transport(up)(a_call("POST", body=body)))
            await wait_until(lambda: up.ends and up.ends[0].received)
            body.feed(b"one")
            body.feed(b"two")
            body.end(Fields(b"x-sum: 1\r\n"))
            await wait_until(
                lambda: up.ends[0].received.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 1\r\n\r\n")
            )
            assert up.ends[0].received.count(b"Transfer-Encoding: chunked\r\n") == 1
            assert b"Expect" not in up.ends[0].received
            up.ends[0].transport.write(up.OK)
            assert (await sending).body == b"body"

    run(main())


def test_a_body_of_known_length_is_not_framed_anew(run, upstream, transport, a_call, job):
    async def main():
        async with upstream() as up:
            body = RequestBody(job, 5)
            body.feed(b"whole")
            body.end(Fields())
            await transport(up)(a_call("POST", headers=Fields(b"Content-Length: 5\r\n"), body=body))
            assert b"Transfer-Encoding" not in up.ends[0].received
            assert b"Expect" not in up.ends[0].received

    run(main())


@pytest.mark.parametrize("begun", [True, False])
def test_the_upstream_is_asked_for_100_continue_only_before_any_byte_of_the_body(
    run, upstream, transport, a_call, job, wait_until, begun
):
    async def main():
        async with upstream() as up:
            up.answer, interim = None, []
            body = RequestBody(job, 4, expects_continue=True)
            if begun:
                body.feed(b"bo")
            call = a_call("POST", body=body, interim=lambda status, _: interim.append(status))
            sending = asyncio.ensure_future(transport(up)(call))
            await wait_until(lambda: up.ends and b"\r\n\r\n" in up.ends[0].received)
            head, _, rest = up.ends[0].received.partition(b"\r\n\r\n")
            assert head.count(b"Expect: 100-continue") == (0 if begun else 1)
            if not begun:
                assert rest == b""
                up.ends[0].transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await wait_until(lambda: interim == [100])
                body.feed(b"bo")
            body.feed(b"dy")
            body.end(Fields())
            await wait_until(lambda: up.ends[0].received.endswith(b"\r\n\r\nbody"))
            up.ends[0].transport.write(up.OK)
            assert (await sending).status == 200

    run(main())


# a kept connection that the upstream closes as the call comes


@pytest.fixture
def with_a_stale_connection(upstream, transport, a_call):
    """An upstream that closes its only connection under the second request, and the transport that keeps it."""

    @contextlib.asynccontextmanager
    async def stale():
        async with upstream() as up:
            send = transport(up)
            await send(a_call())
            up.ends[0].breaks = True
            yield up, send

    return stale


def test_a_call_that_meets_a_stale_connection_is_sent_once_more_on_a_fresh_one(run, with_a_stale_connection, a_call):
    async def main():
        async with with_a_stale_connection() as (up, send):
            assert (await send(a_call("POST", body=b"x"))).body == b"body"
            assert len(up.ends) == 2
            assert up.ends[1].received.count(b"POST ") == 1

    run(main())


def test_a_replayable_body_goes_up_whole_the_second_time(run, with_a_stale_connection, a_call, job):
    async def main():
        async with with_a_stale_connection() as (up, send):
            body = RequestBody(job, None, memory=100)
            body.feed(b"one")
            body.end(Fields())
            assert (await send(a_call("POST", body=body))).status == 200
            assert up.ends[1].received.endswith(b"\r\n\r\n3\r\none\r\n0\r\n\r\n")

    run(main())


@pytest.mark.parametrize("why_not", ["not repeatable", "body gone"])
def test_a_call_that_cannot_be_sent_twice_fails_on_a_stale_connection(
    run, with_a_stale_connection, a_call, job, why_not
):
    async def main():
        async with with_a_stale_connection() as (up, send):
            body = RequestBody(job, None)
            body.feed(b"one")
            call = a_call("POST", body=b"x", repeatable=False) if why_not == "not repeatable" else a_call(body=body)
            with pytest.raises(StaleConnection) as raised:
                await send(call)
            assert raised.value.sent
            assert len(up.ends) == 1

    run(main())


def test_a_fresh_connection_that_breaks_too_is_a_failure(run, with_a_stale_connection, a_call):
    async def main():
        async with with_a_stale_connection() as (up, send):
            up.answer = b"not http\r\n\r\n"
            with pytest.raises(UpstreamBroke) as raised:
                await send(a_call())
            assert type(raised.value) is UpstreamBroke
            assert len(up.ends) == 2

    run(main())


def test_a_connection_that_breaks_in_the_reply_is_not_repeated_here(run, upstream, transport, a_call, wait_until):
    async def main():
        async with upstream() as up:
            send = transport(up)
            await send(a_call())
            up.answer = b"HTTP/1.1 2"
            sending = asyncio.ensure_future(send(a_call()))
            await wait_until(lambda: up.ends[0].received.count(b"GET ") == 2)
            up.ends[0].transport.close()
            with pytest.raises(UpstreamBroke):
                await sending
            assert len(up.ends) == 1

    run(main())


def test_an_upstream_that_is_gone_by_the_second_try_is_unreachable(run, with_a_stale_connection, a_call):
    async def main():
        async with with_a_stale_connection() as (up, send):
            up.server.close()
            with pytest.raises(UpstreamUnreachable):
                await send(a_call())

    run(main())


@pytest.mark.parametrize("kept", [True, False])
def test_a_cancelled_call_ends_its_connection(kept, run, upstream, transport, a_call, wait_until):
    async def main():
        async with upstream() as up:
            send = transport(up)
            if kept:
                await send(a_call())
            up.answer = None
            sending = asyncio.ensure_future(send(a_call()))
            await wait_until(lambda: up.ends and up.ends[0].received.count(b"GET ") == 1 + kept)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await wait_until(lambda: not up.open)
            assert send._pool.active == 0

    run(main())


def test_a_streamed_reply_leaves_its_connection_to_the_pool_when_it_ends(
    run, upstream, transport, a_call, take, wait_until
):
    async def main():
        async with upstream() as up:
            up.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"
            send = transport(up)
            reply = await send(a_call())
            assert isinstance(reply.body, BodyStream)
            taker = take(reply.body)
            assert (send._pool.idle, send._pool.active) == (0, 1)
            up.ends[0].transport.write(b"def")
            await wait_until(lambda: taker.ends)
            assert taker.bytes == b"abcdef"
            assert (send._pool.idle, send._pool.active) == (1, 0)

    run(main())


def test_an_address_without_a_path_adds_none(run, upstream, transport, a_call):
    async def main():
        async with upstream() as up:
            await transport(up, base_path=b"")(a_call())
            assert re.match(rb"GET /thing\?x=1 HTTP/1.1\r\nHost: here.test:80\r\n", up.ends[0].received)

    run(main())
