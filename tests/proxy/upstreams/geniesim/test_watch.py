"""Looking at a simulator from outside."""

import asyncio
import os
import socket
import subprocess

from blueprint_proxy.config.addresses import parse_url
from blueprint_proxy.policies.simulator import Life, Phase, Simulator
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.upstreams.geniesim.identity import Seen, Unseen
from blueprint_proxy.upstreams.geniesim.identity import _seen as identity_of_process
from blueprint_proxy.upstreams.geniesim.watch import Watch, port_is_open


class Scene:
    def __init__(self, life=None):
        self.simulator = Simulator(0.0, life, boot=900.0, initialise=600.0)
        self.began = []
        self.busy = False
        self.open = True
        self.seen = Seen("one")
        self.looks = 0
        self.unpinned = asyncio.Event()
        self.watch = Watch(
            self.simulator,
            Sweep(asyncio.get_running_loop()),
            began=self.began.append,
            moved=self.moved,
            busy=lambda: self.busy,
        )
        self.watch.configure(self, self.is_open)

    def moved(self):
        self.looks += 1
        if self.watch.pid is None:
            self.unpinned.set()

    async def look(self):
        return self.seen

    async def is_open(self):
        return self.open


def playing(act):
    def played():
        asyncio.run(act())

    return played


@playing
async def test_the_same_one_is_the_same_life():
    scene = Scene(Life("one", 4, initialised=True))
    await scene.watch.look()
    assert (scene.simulator.epoch, scene.simulator.phase, scene.began) == (4, Phase.READY, [])
    await scene.watch.end()


@playing
async def test_another_one_is_another_life():
    scene = Scene(Life("one", 4, initialised=True))
    scene.seen = Seen("two")
    await scene.watch.look()
    assert (scene.simulator.epoch, len(scene.began)) == (5, 1)
    await scene.watch.end()


@playing
async def test_a_closed_port_is_down_and_the_first_one_after_it_is_empty():
    scene = Scene()
    scene.open = False
    await scene.watch.look()
    assert scene.simulator.phase is Phase.DOWN
    scene.open = True
    await scene.watch.look()
    scene.simulator.answered(1.0)
    assert (scene.simulator.phase, scene.simulator.epoch) == (Phase.EMPTY, 1)
    await scene.watch.end()


@playing
async def test_one_that_cannot_be_told_any_more_is_unverified():
    scene = Scene(Life("one", 4, initialised=True))
    scene.seen = Unseen("two processes")
    await scene.watch.look()
    assert (scene.simulator.phase, scene.watch.why_unseen) == (Phase.UNVERIFIED, "two processes")
    await scene.watch.end()


@playing
async def test_while_a_call_is_in_flight_the_port_is_left_alone():
    scene = Scene(Life("one", 4, initialised=True))
    scene.busy, scene.open = True, False
    scene.watch.tick(0.0)
    await asyncio.sleep(0.01)
    assert (scene.watch.looked, scene.simulator.phase) == (True, Phase.READY)
    await scene.watch.end()


def test_the_end_of_a_process_is_known_at_once():
    process = subprocess.Popen(["/bin/sleep", "600"])

    @playing
    async def played():
        scene = Scene()
        scene.seen = identity_of_process(process.pid)
        await scene.watch.look()
        assert scene.watch.pid == process.pid
        process.kill()
        await asyncio.wait_for(scene.unpinned.wait(), 20.0)
        assert (scene.simulator.epoch, scene.simulator.phase) == (2, Phase.DOWN)
        assert scene.began == ["its process ended"]
        await scene.watch.end()

    played()
    process.wait()


@playing
async def test_a_number_that_has_come_to_mean_another_process_is_a_dead_one():
    scene = Scene()
    scene.seen = Seen("pid of long ago", os.getpid())
    await scene.watch.look()
    assert (scene.watch.pid, scene.simulator.epoch) == (None, 2)
    await scene.watch.end()


def test_a_port_is_open_while_somebody_takes_connections():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = parse_url(f"grpc://127.0.0.1:{server.getsockname()[1]}")
        assert asyncio.run(port_is_open(url))
    assert not asyncio.run(port_is_open(url))


def test_a_unix_socket_is_open_in_the_same_way(tmp_path):
    url = parse_url(f"unix:{tmp_path / 's'}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert asyncio.run(port_is_open(url))
    assert not asyncio.run(port_is_open(url))
