"""The server's port, file and end."""

import asyncio

import grpc
import pytest

from blueprint_proxy.config import Address, ListenerTls
from blueprint_proxy.inbound.rpc_server import RpcServer
from support.rpc_upstream import RpcUpstream

LOOPBACK = Address("127.0.0.1", 0)


class Handler:
    """Answers /a/wait when it is told to, everything else at once."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()

    def service(self, details):
        async def answer(message, context):
            if details.method == "/a/wait":
                self.began.set()
                await self.go_on.wait()
            return message

        return grpc.unary_unary_rpc_method_handler(answer)


def played(play, address=LOOPBACK, **how):
    async def run():
        handler = Handler()
        server = RpcServer(handler, address, how.get("tls"), limit=1000)
        await server.start()
        where = str(server.address)
        async with grpc.aio.insecure_channel(where, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            await play(server, handler, channel)

    asyncio.run(run())


def test_its_address_is_the_real_one_and_it_serves_up_to_its_limit():
    async def play(server, handler, channel):
        assert server.address.port > 0
        assert await channel.unary_unary("/a/b")(b"x" * 1000) == b"x" * 1000
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
            await channel.unary_unary("/a/b")(b"x" * 1001)
        assert await server.drain(5.0)

    played(play)


def test_a_drain_waits_for_calls_and_takes_no_new_ones():
    async def play(server, handler, channel):
        call = channel.unary_unary("/a/wait")(b"x")
        await handler.began.wait()
        draining = asyncio.get_running_loop().create_task(server.drain(20.0))
        async with grpc.aio.insecure_channel(str(server.address), [("grpc.use_local_subchannel_pool", 1)]) as other:
            while True:
                try:
                    await other.unary_unary("/a/b")(b"")
                except grpc.aio.AioRpcError:
                    break
        handler.go_on.set()
        assert await call == b"x"
        assert await draining

    played(play)


@pytest.mark.parametrize("how", ["grace", "abort"])
def test_what_outlasts_the_grace_is_cut_and_said(how):
    async def play(server, handler, channel):
        call = channel.unary_unary("/a/wait")(b"x")
        await handler.began.wait()
        if how == "abort":
            server.abort()
        assert not await server.drain(0.05 if how == "grace" else 60.0)
        with pytest.raises(grpc.aio.AioRpcError):
            await call

    played(play)


def test_an_address_that_is_taken_is_an_os_error_with_a_sentence():
    taken = RpcUpstream()

    async def run():
        with pytest.raises(OSError, match=rf"the grpc listener cannot bind 127\.0\.0\.1:{taken.port}"):
            RpcServer(Handler(), Address("127.0.0.1", taken.port), None, limit=1)

    asyncio.run(run())
    taken.stop()


def test_a_unix_socket_is_this_users_alone_and_replaces_only_a_dead_one(tmp_path):
    path = tmp_path / "s"
    address = Address("", 0, str(path))

    async def play(server, handler, channel):
        assert path.stat().st_mode & 0o777 == 0o600
        assert await channel.unary_unary("/a/b")(b"x") == b"x"
        with pytest.raises(OSError, match="another process serves this socket"):
            RpcServer(Handler(), address, None, limit=1)
        await server.drain(1.0)

    played(play, address)
    path.unlink(missing_ok=True)
    path.write_text("a file")
    with pytest.raises(OSError, match="no socket"):
        played(play, address)


def test_a_tls_file_that_is_not_there_is_an_os_error(tmp_path):
    async def run():
        with pytest.raises(OSError, match="the grpc listener"):
            RpcServer(Handler(), LOOPBACK, ListenerTls(tmp_path / "c", tmp_path / "k", None), limit=1)

    asyncio.run(run())
