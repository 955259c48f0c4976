"""The kept connections to one upstream: real sockets on loopback, time turned by hand."""

import asyncio
import socket
import ssl

import pytest

from blueprint_proxy.errors import AttemptTimedOut, Fault, UpstreamUnreachable
from blueprint_proxy.outbound.pool import CAUTIOUS_AGE, IDLE_EXPIRY, MAX_AGE, Origin, Pool
from support.tls import make_certificates

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def a_pool(upstream, wheel, *, cap=10, tls=None, host="127.0.0.1"):
    origin = (
        Origin("", 0, unix=str(upstream.unix)) if upstream.unix is not None else Origin(host, upstream.port, tls=tls)
    )
    return Pool(origin, wheel, cap=cap)


@pytest.fixture
def exchange(a_call):
    async def exchange(connection):
        reply = await connection.exchange(a_call(), HEAD)
        assert reply.body == b"body"

    return exchange


@pytest.fixture
def idle(exchange):
    """Connects `count` times and leaves all of them idle, in this order."""

    async def idle(pool, count):
        connections = [await pool.connect(5.0) for _ in range(count)]
        for connection in connections:
            await exchange(connection)
        return connections

    return idle


def test_the_last_one_used_serves_first(run, upstream, wheel, idle):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            first, second = await idle(pool, 2)
            assert (pool.idle, pool.active) == (2, 0)
            assert pool.take(repeatable=True) is second
            assert (pool.idle, pool.active) == (1, 1)
            assert pool.take(repeatable=True) is first
            assert pool.take(repeatable=True) is None

    run(main())


def test_no_more_than_the_cap_are_kept(run, upstream, wheel, idle, wait_until):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel, cap=2)
            await idle(pool, 3)
            assert pool.idle == 2
            await wait_until(lambda: len(up.open) == 2)
            assert (pool.idle, pool.active) == (2, 0)

    run(main())


def test_idle_connections_expire_each_at_its_own_time(run, upstream, wheel, exchange, wait_until):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            first, second = [await pool.connect(5.0) for _ in range(2)]
            await exchange(first)
            wheel.turn(10)
            await exchange(second)
            wheel.turn(IDLE_EXPIRY - 10.5)
            assert pool.idle == 2
            wheel.turn(1)
            assert pool.idle == 1
            await wait_until(lambda: len(up.open) == 1)
            wheel.turn(10)
            assert pool.idle == 0
            await wait_until(lambda: not up.open)
            assert (pool.idle, pool.active) == (0, 0)
            assert wheel.standing == 0

    run(main())


def test_a_connection_in_use_does_not_expire(run, upstream, wheel, exchange, idle):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            [connection] = await idle(pool, 1)
            pool.take(repeatable=True)
            wheel.turn(2 * IDLE_EXPIRY)
            await exchange(connection)
            assert pool.idle == 1

    run(main())


def test_an_old_connection_is_not_used_again(run, upstream, wheel, exchange, idle, wait_until):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            [connection] = await idle(pool, 1)
            for _ in range(int(MAX_AGE // 20)):
                wheel.turn(20)
                assert pool.take(repeatable=True) is connection
                await exchange(connection)
            wheel.turn(20)
            assert pool.take(repeatable=True) is None
            assert pool.idle == 0
            await wait_until(lambda: not up.open)
            assert pool.active == 0

    run(main())


def test_a_call_that_may_not_be_repeated_takes_only_a_connection_used_a_moment_ago(run, upstream, wheel, idle):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            [connection] = await idle(pool, 1)
            wheel.turn(CAUTIOUS_AGE + 0.1)
            assert pool.take(repeatable=False) is None
            assert pool.take(repeatable=True) is connection

    run(main())


def test_a_call_that_may_not_be_repeated_takes_a_fresh_connection(run, upstream, wheel, idle):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            [connection] = await idle(pool, 1)
            wheel.turn(CAUTIOUS_AGE - 0.1)
            assert pool.take(repeatable=False) is connection

    run(main())


def test_a_connection_that_the_upstream_closed_is_forgotten(run, upstream, wheel, idle, wait_until):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            first, _ = await idle(pool, 2)
            up.ends[1].transport.close()
            await wait_until(lambda: pool.idle == 1)
            assert pool.take(repeatable=True) is first

    run(main())


def test_a_connection_that_is_closing_is_passed_over(run, upstream, wheel, idle):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            first, second = await idle(pool, 2)
            second.abort()
            assert pool.take(repeatable=True) is first
            assert pool.take(repeatable=True) is None

    run(main())


def test_close_ends_idle_connections_now_and_the_others_after_their_exchange(
    run, upstream, wheel, idle, exchange, wait_until
):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            await idle(pool, 2)
            busy = pool.take(repeatable=True)
            pool.close()
            assert pool.idle == 0
            await wait_until(lambda: len(up.open) == 1)
            await exchange(busy)
            assert pool.idle == 0
            await wait_until(lambda: not up.open)
            assert pool.active == 0

    run(main())


def test_a_unix_socket_is_an_origin_too(run, upstream, wheel, exchange, tmp_path):
    async def main():
        async with upstream(unix=tmp_path / "socket") as up:
            pool = a_pool(up, wheel)
            await exchange(await pool.connect(5.0))
            assert str(pool.origin) == f"unix:{tmp_path / 'socket'}"
        with pytest.raises(UpstreamUnreachable):
            await Pool(Origin("", 0, unix=str(tmp_path / "nothing")), wheel, cap=1).connect(5.0)

    run(main())


# connections that do not come about


def test_a_port_where_nobody_listens_is_unreachable(run, upstream, wheel):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
        with pytest.raises(UpstreamUnreachable, match=r"127\.0\.0\.1") as raised:
            await pool.connect(5.0)
        assert not raised.value.sent
        assert raised.value.fault is Fault.CONNECT
        assert (pool.idle, pool.active) == (0, 0)
        assert wheel.standing == 0

    run(main())


def test_an_unknown_host_is_unreachable(wheel):
    async def main():
        async def unknown(*args, **kwargs):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        asyncio.get_running_loop().getaddrinfo = unknown
        with pytest.raises(UpstreamUnreachable, match=r"no-such-host\.test:80: Name or service not known"):
            await Pool(Origin("no-such-host.test", 80), wheel, cap=1).connect(5.0)

    asyncio.run(main())


def test_a_name_that_is_none_is_unreachable(run, wheel):
    async def main():
        with pytest.raises(UpstreamUnreachable):
            await Pool(Origin("a" * 64 + ".test", 80), wheel, cap=1).connect(5.0)

    run(main())


def test_a_name_is_resolved_afresh_for_every_connection(upstream, wheel):
    async def main():
        asked = []
        async with upstream() as up, upstream() as moved:
            ports = iter([up.port, moved.port])

            async def resolve(host, port, **kwargs):
                asked.append(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", next(ports)))]

            asyncio.get_running_loop().getaddrinfo = resolve
            pool = Pool(Origin("here.test", 80), wheel, cap=2)
            await pool.connect(5.0)
            await pool.connect(5.0)
            await_both = [len(up.ends), len(moved.ends)]
            assert asked == ["here.test", "here.test"]
            assert await_both == [1, 1]

    asyncio.run(main())


def test_an_upstream_with_a_certificate_of_a_trusted_ca_is_spoken_to(run, upstream, wheel, exchange, tmp_path):
    certificates = make_certificates(tmp_path)

    async def main():
        async with upstream(tls=certificates.server) as up:
            trusting = ssl.create_default_context(cafile=certificates.ca)
            await exchange(await a_pool(up, wheel, tls=trusting).connect(5.0))

    run(main())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [("ca", "unable to get local issuer certificate"), ("name", "not valid for"), ("protocol", "WRONG_VERSION_NUMBER")],
)
def test_an_upstream_that_cannot_prove_who_it_is_is_unreachable(run, upstream, wheel, tmp_path, wait_until, wrong, why):
    certificates = make_certificates(tmp_path)
    host = "127.0.0.2" if wrong == "name" else "127.0.0.1"

    async def main():
        async with upstream(tls=None if wrong == "protocol" else certificates.server, host=host) as up:
            up.answer = None
            trusting = ssl.create_default_context(cafile=None if wrong == "ca" else certificates.ca)
            pool = a_pool(up, wheel, tls=trusting, host=host)
            if wrong == "protocol":
                connecting = asyncio.ensure_future(pool.connect(5.0))
                await wait_until(lambda: up.ends and up.ends[0].received)
                up.ends[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:
                connecting = pool.connect(5.0)
            with pytest.raises(UpstreamUnreachable, match=why) as raised:
                await connecting
            assert raised.value.message.startswith("TLS with 127.0.0.")
            assert not raised.value.sent
            await wait_until(lambda: not up.open)
            assert pool.active == 0

    run(main())


def test_a_handshake_that_never_ends_runs_into_the_connect_timeout(run, upstream, wheel, wait_until):
    async def main():
        async with upstream() as up:
            up.answer = None
            pool = a_pool(up, wheel, tls=ssl.create_default_context())
            connecting = asyncio.ensure_future(pool.connect(5.0))
            await wait_until(lambda: up.ends and up.ends[0].received)
            wheel.turn(4.9)
            await asyncio.sleep(0)
            assert not connecting.done()
            wheel.turn(0.2)
            with pytest.raises(AttemptTimedOut) as raised:
                await connecting
            assert raised.value.phase == "connect"
            assert not raised.value.sent
            await wait_until(lambda: not up.open)
            assert pool.active == 0

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4])
def test_a_cancelled_connect_leaves_no_connection_behind(run, upstream, wheel, wait_until, turns):
    async def main():
        async with upstream() as up:
            pool = a_pool(up, wheel)
            connecting = asyncio.ensure_future(pool.connect(5.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not connecting.cancel():
                return
            with pytest.raises(asyncio.CancelledError):
                await connecting
            # A connection made after the cancelled one has been accepted after it.
            await pool.connect(5.0)
            await wait_until(lambda: len(up.open) == 1)
            assert pool.active == 1
            assert wheel.standing == 0

    run(main())


def test_a_cancelled_handshake_leaves_no_connection_behind(run, upstream, wheel, wait_until):
    async def main():
        async with upstream() as up:
            up.answer = None
            pool = a_pool(up, wheel, tls=ssl.create_default_context())
            connecting = asyncio.ensure_future(pool.connect(5.0))
            await wait_until(lambda: up.ends and up.ends[0].received)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await wait_until(lambda: not up.open)
            assert pool.active == 0

    run(main())
