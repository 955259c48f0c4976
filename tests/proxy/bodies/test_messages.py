"""Streams of messages: counted, ended once, and never kept."""

import asyncio

import pytest

from blueprint_proxy.bodies.messages import JobMessages, MessageStream
from blueprint_proxy.errors import JobLeft, Reason, Refusal, UpstreamBroke
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import Status
from support.rpc import ScriptedMessages
from support.virtual_time import virtual_time


def watched(stream):
    ends = []
    stream.when_over(ends.append)
    return ends


def test_a_streamed_request_can_be_sent_again_only_while_nothing_of_it_was_taken():
    messages = JobMessages()
    assert messages.replayable
    messages.received = 1
    assert not messages.replayable
    over = JobMessages()
    over.over = True
    assert not over.replayable


@virtual_time
async def test_messages_are_counted_and_the_status_ends_the_stream():
    stream = MessageStream(ScriptedMessages(b"12", b"", b"345", Status(Code.OK, "fine")))
    ends, statuses = watched(stream), []
    stream.on_status = statuses.append
    assert [await stream.next() for _ in range(4)] == [b"12", b"", b"345", Status(Code.OK, "fine")]
    assert (stream.received, stream.over, ends) == (5, True, [None])
    assert statuses == [Status(Code.OK, "fine")]


@virtual_time
async def test_a_connection_that_was_lost_is_told_to_the_watchers():
    error = UpstreamBroke("Stream removed", sent=True)
    stream = MessageStream(ScriptedMessages(Status(Code.UNAVAILABLE, "Stream removed"), error=error))
    ends = watched(stream)
    await stream.next()
    assert ends == [error]


@virtual_time
async def test_a_job_that_leaves_cancels_the_upstreams_end():
    messages = ScriptedMessages()
    stream = MessageStream(messages)
    ends = watched(stream)
    stream.abandon()
    assert messages.cancelled.is_set()
    assert isinstance(ends[0], JobLeft)


@virtual_time
async def test_a_reader_of_an_abandoned_stream_hears_why():
    messages = ScriptedMessages()
    stream = MessageStream(messages)
    refusal = Refusal(Reason.DEADLINE_EXCEEDED, "too late")
    reader = asyncio.get_running_loop().create_task(stream.next())
    await asyncio.sleep(1)
    stream.abandon(refusal)
    with pytest.raises(Refusal) as caught:
        await reader
    assert caught.value is refusal


@virtual_time
async def test_a_reader_that_is_cancelled_itself_stays_cancelled():
    stream = MessageStream(ScriptedMessages())
    reader = asyncio.get_running_loop().create_task(stream.next())
    await asyncio.sleep(1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


@virtual_time
async def test_writing_and_half_closing_reach_the_upstream():
    messages = ScriptedMessages()
    stream = MessageStream(messages)
    assert await stream.write(b"up")
    await stream.done_writing()
    assert (messages.written, messages.half_closed.is_set()) == ([b"up"], True)
