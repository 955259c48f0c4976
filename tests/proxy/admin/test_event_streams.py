import asyncio
import json

from blueprint_proxy.admin import event_streams
from blueprint_proxy.admin.event_streams import QUEUE, EventStreams
from blueprint_proxy.telemetry.events import Draining, Listening, Stopped
from blueprint_proxy.telemetry.stream import Telemetry
from support.virtual_time import virtual_time


def parsed(chunk):
    """Name and data of a server-sent event; None for a comment."""
    if chunk.startswith(b":"):
        return None
    name, data, end = chunk.decode().split("\n", 2)
    assert end == "\n"
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


class Listener:
    """Reads a stream as a response does: one chunk when asked, and ended at the end."""

    def __init__(self, streams):
        self._chunks = streams.listen()

    async def __aenter__(self):
        assert await self.next() is None
        return self

    async def __aexit__(self, *_):
        await self._chunks.aclose()

    async def next(self):
        return parsed(await anext(self._chunks))

    async def rest(self):
        return [parsed(chunk) async for chunk in self._chunks]


@virtual_time
async def test_a_listener_is_told_what_happens_from_then_on():
    telemetry = Telemetry()
    telemetry.emit(Stopped(drained=True))
    async with Listener(EventStreams(telemetry)) as listener:
        telemetry.emit(Listening("http", "127.0.0.1:8900"))
        name, data = await listener.next()
        assert data.pop("at") > 1_700_000_000
        assert (name, data) == (
            "listening",
            {"event": "listening", "listener": "http", "address": "127.0.0.1:8900"},
        )


@virtual_time
async def test_every_listener_is_told_everything():
    telemetry = Telemetry()
    streams = EventStreams(telemetry)
    async with Listener(streams) as one, Listener(streams) as other:
        telemetry.emit(Draining(grace=30.0, in_flight=2))
        for listener in (one, other):
            assert (await listener.next())[0] == "draining"


@virtual_time
async def test_silence_is_filled_with_comments():
    async with Listener(EventStreams(Telemetry())) as listener:
        before = asyncio.get_running_loop().time()
        assert await listener.next() is None
        assert asyncio.get_running_loop().time() - before == event_streams.ALIVE_EVERY


@virtual_time
async def test_a_slow_listener_loses_events_and_is_told_how_many_where_they_are_missing():
    telemetry = Telemetry()
    async with Listener(EventStreams(telemetry)) as listener:
        for number in range(QUEUE + 7):
            telemetry.emit(Draining(grace=0.0, in_flight=number))
        got = [await listener.next() for _ in range(QUEUE)]
        assert [data["in_flight"] for _, data in got] == list(range(QUEUE))
        telemetry.emit(Stopped(drained=True))
        name, data = await listener.next()
        assert (name, data["count"]) == ("dropped", 7)
        assert (await listener.next())[0] == "stopped"


@virtual_time
async def test_at_the_end_each_stream_ends_with_what_it_still_holds():
    telemetry = Telemetry()
    streams = EventStreams(telemetry)
    async with Listener(streams) as listener:
        telemetry.emit(Draining(grace=0.0, in_flight=0))
        streams.end()
        assert [name for name, _ in await listener.rest()] == ["draining"]
    async with Listener(streams) as late:
        assert await late.rest() == []


@virtual_time
async def test_a_listener_that_waits_is_woken_by_the_end():
    streams = EventStreams(Telemetry())
    async with Listener(streams) as listener, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(listener.rest())
        await asyncio.sleep(1)
        streams.end()
        assert await waiting == []


@virtual_time
async def test_who_left_costs_nothing_more():
    telemetry = Telemetry()
    before = dict(telemetry._sinks)
    async with Listener(EventStreams(telemetry)):
        assert telemetry._sinks != before
    assert telemetry._sinks == before
