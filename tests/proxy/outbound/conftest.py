"""Calls for the transport: no policy stands behind them."""

import asyncio
from types import SimpleNamespace

import pytest
import uvloop

from blueprint_proxy.calls import Call
from blueprint_proxy.config.operations import Timeouts
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.sweep import Alarm


def make_call(
    method="GET",
    target=b"/thing?x=1",
    *,
    headers=Fields(b"x-one: 1\r\n"),  # noqa: B008 -- nobody changes it
    body=b"",
    repeatable=True,
    connect=5.0,
    first_byte=None,
    idle=None,
    attempt=None,
    interim=None,
):
    return Call(
        upstream="here", operation="thing", method=method, target=target, headers=headers, body=body,
        settings=SimpleNamespace(timeouts=Timeouts(connect, first_byte, idle, attempt)), policies=None,
        repeatable=repeatable, request_id="id", arrived=0.0, interim=interim,
    )  # fmt: skip


@pytest.fixture
def a_call():
    return make_call


class Job:
    """The connection that brings a request's body."""

    paused = False

    def pause_body(self):
        self.paused = True

    def resume_body(self):
        self.paused = False


@pytest.fixture
def job():
    return Job()


class Taker:
    """The connection that takes a reply's body."""

    def __init__(self, stream):
        self.bytes = b""
        self.ends = []
        stream.attach(self)

    def body_data(self, data):
        assert not self.ends
        self.bytes += data

    def body_end(self, trailers):
        self.ends.append(trailers)

    def body_failed(self, error):
        self.ends.append(error)


@pytest.fixture
def take():
    return Taker


class HandWheel:
    """A sweep whose time a test turns by hand."""

    def __init__(self):
        self.time = 1000.0
        self.alarms = []

    @property
    def loop(self):
        return asyncio.get_running_loop()

    def now(self):
        return self.time

    def at(self, when, action):
        alarm = Alarm(action, bucket := set())
        bucket.add(alarm)
        self.alarms.append((when, alarm, bucket))
        return alarm

    @property
    def standing(self):
        return sum(1 for _, alarm, bucket in self.alarms if alarm in bucket)

    def turn(self, seconds):
        until = self.time + seconds
        while due := [entry for entry in self.alarms if entry[0] <= until and entry[1] in entry[2]]:
            when, alarm, bucket = min(due, key=lambda entry: entry[0])
            self.time = max(self.time, when)
            bucket.discard(alarm)
            alarm.action()
        self.time = until


class Upstream:
    """A server on loopback in the test's own loop. `answer` is what every request gets; None leaves it waiting."""

    OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"

    def __init__(self, *, tls=None, unix=None, host="127.0.0.1"):
        self.tls, self.unix, self.host = tls, unix, host
        self.answer = self.OK
        self.ends = []
        self.changed = asyncio.Event()

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        if self.unix is not None:
            self.server = await loop.create_unix_server(lambda: End(self), str(self.unix))
        else:
            self.server = await loop.create_server(lambda: End(self), self.host, 0, ssl=self.tls)
            self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for end in self.ends:
            end.transport.abort()
        await until(lambda: all(end.over for end in self.ends))
        self.server.close()
        await self.server.wait_closed()

    @property
    def open(self):
        return [end for end in self.ends if not end.over]


class End(asyncio.Protocol):
    """The upstream's end of one connection. Each request must come in one read: they are small."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.received = b""
        self.over = False
        self.breaks = False  # under the next request
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.upstream.ends.append(self)

    def data_received(self, data):
        self.received += data
        if self.breaks:
            self.transport.abort()
        elif self.upstream.answer is not None and data.startswith((b"GET ", b"POST ")):
            self.transport.write(self.upstream.answer)

    def connection_lost(self, error):
        self.over = True


async def until(condition):
    """Turns the loop until it is so: both ends of every socket here are in it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while not condition():  # what the kernel still has to deliver sets no event of ours
        assert loop.time() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


@pytest.fixture
def wheel():
    return HandWheel()


@pytest.fixture
def upstream():
    return Upstream


@pytest.fixture
def wait_until():
    return until


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a test's coroutine on the standard loop and on the product's; what only the loop saw fails it too."""

    def run_on(coroutine):
        factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop
        failures = []
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: failures.append(context))
            runner.run(coroutine)
        assert not failures

    return run_on
