"""The channels of one upstream, against a real server."""

import asyncio

import pytest

from blueprint_proxy.config.addresses import parse_url
from blueprint_proxy.outbound.channels import METHODS, Channels, target_of
from blueprint_proxy.sweep import Sweep
from support.rpc_upstream import RpcUpstream


@pytest.fixture
def upstream():
    server = RpcUpstream()
    yield server
    server.stop()


def played(upstream, play, *, in_use=lambda: False):
    async def run():
        channels = Channels(
            f"dns:///127.0.0.1:{upstream.port}",
            None,
            Sweep(asyncio.get_running_loop()),
            connect=5.0,
            limit=1000,
            authority="there",
            in_use=in_use,
        )
        await play(channels)
        channels.close()
        await asyncio.gather(*channels._closing)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://h:1", "dns:///h:1"),
        ("grpcs://h", "dns:///h:443"),
        ("grpc://[::1]:5", "dns:///[::1]:5"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_a_url_becomes_a_target(url, target):
    assert target_of(parse_url(url)) == target


def test_first_attempts_share_a_connection_and_repeats_have_another(upstream):
    async def play(channels):
        assert channels.open == 0
        for repeat in (False, False, True):
            assert await channels.unary("/a.B/c", repeat=repeat)(b"x") == b"x"
        assert channels.open == 2
        assert channels.connected(repeat=False)
        assert channels.unary("/a.B/c", repeat=False) is channels.unary("/a.B/c", repeat=False)
        assert channels.unary("/a.B/c", repeat=False) is not channels.stream("/a.B/c", repeat=False)

    played(upstream, play)


def test_stubs_of_made_up_methods_do_not_pile_up(upstream):
    async def play(channels):
        for number in range(METHODS + 10):
            channels.unary(f"/a.B/{number}", repeat=False)
        assert len(channels._stubs) <= METHODS

    played(upstream, play)


def test_closing_waits_for_calls_that_may_make_another_attempt(upstream):
    using = [True]

    async def play(channels):
        await channels.unary("/a.B/c", repeat=False)(b"x")
        channels.close()
        assert await channels.unary("/a.B/c", repeat=False)(b"still") == b"still"
        assert not channels._closing
        using.clear()

    played(upstream, play, in_use=lambda: bool(using))
