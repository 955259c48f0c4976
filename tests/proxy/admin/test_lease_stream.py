"""Holding a lease: lines while the run lives, a last one when it ends, and a holder that leaves."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from blueprint_proxy.admin.lease_stream import ALIVE_EVERY, VANISHED, LeaseStream
from blueprint_proxy.runs.lease import Order
from blueprint_proxy.runs.processes import Unproven
from blueprint_proxy.runs.registry import REATTACH, Runs
from blueprint_proxy.telemetry.stream import Telemetry
from support.virtual_time import virtual_time

ORDER = Order("scene", "job")
NOBODY = Unproven("a test")


def play(act):
    """Runs `act(runs)` on virtual time."""

    def test():
        @virtual_time
        async def played():
            runs = Runs(Telemetry(), addresses=lambda _run, _reached: None)
            try:
                await act(runs)
            finally:
                runs.drain()

        played()

    test.__name__ = act.__name__
    return test


class Holder:
    """A request that holds a lease: the lines that it got, and a way to leave."""

    def __init__(self, runs, lease, **state):
        self.lines = []
        self.over = False
        self._messages = asyncio.Queue()
        scope = {"type": "http", "state": state}
        self.task = asyncio.get_running_loop().create_task(
            LeaseStream(runs, lease)(scope, self._messages.get, self._send)
        )

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.head = {name.decode(): value.decode() for name, value in message["headers"]}
            assert message["status"] == 200
            return
        self.lines += [json.loads(line) for line in message["body"].splitlines()]
        self.over = not message["more_body"]

    async def leaves(self):
        self._messages.put_nowait({"type": "http.disconnect"})
        await self.task


@play
async def test_a_lease_is_held_open_and_said_to_be_alive(runs):
    holder = Holder(runs, runs.open(ORDER, NOBODY))
    await asyncio.sleep(2.5 * ALIVE_EVERY)
    assert holder.head == {"content-type": "application/x-ndjson"}
    assert holder.lines == [{"event": "held"}, {"event": "alive"}, {"event": "alive"}]
    assert not holder.over
    await holder.leaves()


@play
async def test_the_end_of_the_run_is_the_last_line_and_comes_at_once(runs):
    lease = runs.open(ORDER, NOBODY)
    holder = Holder(runs, lease)
    await asyncio.sleep(1.0)
    runs.end(lease, "process_ended")
    before = asyncio.get_running_loop().time()
    await holder.task
    assert asyncio.get_running_loop().time() == before
    assert holder.lines == [{"event": "held"}, {"event": "ended", "why": "process_ended"}]
    assert holder.over


@play
async def test_a_drain_ends_the_lease_with_a_last_line(runs):
    holder = Holder(runs, runs.open(ORDER, NOBODY))
    await asyncio.sleep(1.0)
    runs.drain()
    await holder.task
    assert holder.lines[-1] == {"event": "ended", "why": "draining"}


@play
async def test_a_holder_that_leaves_is_noticed_at_once_and_ends_the_run_after_its_grace(runs):
    lease = runs.open(ORDER, NOBODY)
    holder = Holder(runs, lease)
    await asyncio.sleep(1.0)
    await holder.leaves()
    assert lease.connections == set()
    assert holder.lines == [{"event": "held"}]
    await asyncio.sleep(REATTACH)
    assert lease.ending.why == "connection_lost"


@play
async def test_a_holder_that_comes_again_keeps_the_run(runs):
    lease = runs.open(ORDER, NOBODY)
    await asyncio.sleep(1.0)
    first = Holder(runs, lease)
    await asyncio.sleep(1.0)
    await first.leaves()
    second = Holder(runs, lease)
    await asyncio.sleep(2 * REATTACH)
    assert lease.ending is None
    await second.leaves()


@play
async def test_a_holder_whose_host_vanished_is_given_up_by_tcp(runs):
    with socket.socket() as connection:
        holder = Holder(runs, runs.open(ORDER, NOBODY), connection=connection)
        await asyncio.sleep(0.0)
        limit = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert limit == VANISHED * 1000
        await holder.leaves()


@play
async def test_an_answer_that_is_cut_lets_the_lease_go(runs):
    lease = runs.open(ORDER, NOBODY)
    holder = Holder(runs, lease)
    await asyncio.sleep(1.0)
    holder.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder.task
    assert lease.connections == set()
