"""A Call as an RPC, against a real server."""

import asyncio
import time
from dataclasses import replace

import grpc
import pytest

from blueprint_proxy.bodies.messages import MessageStream
from blueprint_proxy.config import Timeouts
from blueprint_proxy.errors import AttemptTimedOut, Reason, Refusal, UpstreamUnreachable
from blueprint_proxy.outbound.channels import Channels
from blueprint_proxy.outbound.grpc import GrpcTransport
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import Status
from blueprint_proxy.sweep import Sweep
from support.proxy import free_port
from support.rpc import rpc_call
from support.rpc_upstream import PATIENCE, RpcUpstream
from support.scripted_upstream import settings


@pytest.fixture
def upstream():
    server = RpcUpstream()
    yield server
    server.stop()


def played(port, play):
    async def run():
        sweep = Sweep(asyncio.get_running_loop())
        channels = Channels(
            f"dns:///127.0.0.1:{port}", None, sweep, connect=5.0, limit=1000, authority="there", in_use=bool
        )
        await play(GrpcTransport(channels, sweep), channels)
        assert channels.active == 0
        channels.close()
        await asyncio.gather(*channels._closing)

    asyncio.run(run())


def made(**given):
    one = rpc_call(**given)
    one.attempts = 1
    return one


def hang(messages, context, heard):
    heard.over.wait(PATIENCE)
    yield b""


def test_a_unary_call_brings_message_metadata_and_status(upstream):
    def behave(messages, context, heard):
        context.send_initial_metadata((("i", "1"),))
        context.set_trailing_metadata((("t", "1"), ("x-blueprint-forged", "1")))
        yield next(messages)

    upstream.on("/a.B/c", behave)

    async def play(transport, channels):
        reply = await transport(made(metadata=(("k", "1"),)))
        assert (reply.body, reply.initial, reply.ended) == (b"ping", (("i", "1"),), Status(Code.OK, "", (("t", "1"),)))
        assert upstream.heard[0].all("k") == ["1"]

    played(upstream.port, play)


def test_a_repeat_says_how_many_attempts_came_before(upstream):
    async def play(transport, channels):
        one = made(previous=2)
        one.attempts = 2
        await transport(one)
        assert upstream.heard[0].all("grpc-previous-rpc-attempts") == ["3"]

    played(upstream.port, play)


def test_a_failure_of_the_upstream_is_a_reply(upstream):
    def behave(messages, context, heard):
        context.abort(grpc.StatusCode.NOT_FOUND, "nö")
        yield b""

    upstream.on("/a.B/c", behave)

    async def play(transport, channels):
        reply = await transport(made())
        assert (reply.status, reply.ended.code, reply.ended.message, reply.body) == (404, Code.NOT_FOUND, "nö", b"")

    played(upstream.port, play)


@pytest.mark.parametrize("unary", [True, False])
def test_an_upstream_that_is_not_there_was_sent_nothing(unary):
    async def play(transport, channels):
        with pytest.raises(UpstreamUnreachable):
            await transport(made(unary=unary))

    played(free_port(), play)


def test_the_limit_of_an_attempt_is_told_from_the_calls_deadline(upstream):
    upstream.on("/a.B/c", hang)

    async def play(transport, channels):
        slow = made(settings=replace(settings(), timeouts=Timeouts(5.0, 0.1, None, None)))
        with pytest.raises(AttemptTimedOut, match=r"first_byte timeout of 0\.1 s"):
            await transport(slow)
        late = made(upward=asyncio.get_running_loop().time() + 0.1, arrived=time.monotonic())
        with pytest.raises(Refusal) as caught:
            await transport(late)
        assert caught.value.reason is Reason.DEADLINE_EXCEEDED

    played(upstream.port, play)


def test_a_cancelled_call_is_cancelled_upstream(upstream):
    upstream.on("/a.B/c", hang)

    async def play(transport, channels):
        calling = asyncio.get_running_loop().create_task(transport(made()))
        heard = await asyncio.to_thread(upstream.wait_for, 1)
        assert channels.active == 1
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert await asyncio.to_thread(heard.over.wait, PATIENCE)

    played(upstream.port, play)


def test_a_stream_goes_both_ways_and_ends_with_its_status(upstream):
    async def play(transport, channels):
        reply = await transport(made(unary=False))
        stream = reply.body
        assert isinstance(stream, MessageStream)
        for message in (b"1", b"22"):
            assert await stream.write(message)
            assert await stream.next() == message
        await stream.done_writing()
        assert (await stream.next()).code is Code.OK
        assert not await stream.write(b"too late")
        assert (stream.received, stream.over) == (3, True)

    played(upstream.port, play)


def test_writing_while_the_upstream_ends_the_call_does_not_hide_its_status(upstream):
    def behave(messages, context, heard):
        context.abort(grpc.StatusCode.ABORTED, "enough")
        yield b""

    upstream.on("/a.B/c", behave)

    async def play(transport, channels):
        for _ in range(20):
            reply = await transport(made(unary=False))
            status = reply.ended
            if isinstance(reply.body, MessageStream):  # else the call was over before it had begun here
                while await reply.body.write(b"x"):
                    pass
                status = await reply.body.next()
            assert (status.code, status.message) == (Code.ABORTED, "enough")

    played(upstream.port, play)


def test_an_abandoned_stream_is_cancelled_upstream(upstream):
    upstream.on("/a.B/c", hang)

    async def play(transport, channels):
        stream = (await transport(made(unary=False))).body
        heard = await asyncio.to_thread(upstream.wait_for, 1)
        stream.abandon()
        assert await asyncio.to_thread(heard.over.wait, PATIENCE)

    played(upstream.port, play)


def test_a_silence_of_the_idle_limit_ends_a_stream(upstream):
    upstream.on("/a.B/c", hang)

    async def play(transport, channels):
        idle = replace(settings(), timeouts=Timeouts(5.0, None, 0.1, None))
        stream = (await transport(made(unary=False, settings=idle))).body
        status = await stream.next()
        assert status.code is Code.DEADLINE_EXCEEDED
        assert isinstance(stream.error, AttemptTimedOut)

    played(upstream.port, play)
