"""What an upstream of kind geniesim adds to one of gRPC."""

import asyncio

import pytest

from blueprint_clients.genie_sim.messages import load
from blueprint_proxy.errors import Reason, Refusal
from support.fake_simulator import FakeSimulator, Station
from support.virtual_time import virtual_time

POSE = {"position": {"x": 1.0}, "rpy": {"rw": 1.0}}
UNSAFE = "upstreams: {geniesim: {operations: {set_object_pose: {class: unsafe}}, mode: MODE}}"


def message(method, part="request", **fields):
    return getattr(load().methods[method], part)(**fields).SerializeToString()


PLACE = message("set_object_pose", object_pose=[{"prim_path": "/World/cup", "pose": POSE}])


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (POSE, "stands where this call wanted it"),
        ({"position": {"x": 2.0}}, "does not stand where this call wanted it"),
        (None, "reading back did not work"),
    ],
)
def test_a_placed_object_is_looked_at_before_the_job_hears_that_it_may_be_there(tmp_path, monkeypatch, pose, words):
    answer = b"" if pose is None else message("get_object_pose", "response", object_pose=pose)
    monkeypatch.setattr("support.fake_simulator.answer", lambda *_: answer)

    @virtual_time
    async def played():
        async with Station(FakeSimulator(), tmp_path, UNSAFE.replace("MODE", "enforce")) as station:
            await station.ask("init_robot")
            station.sim.faults = ["drop"]
            with pytest.raises(Refusal) as caught:
                await station.ask("set_object_pose", PLACE)
            assert caught.value.reason is Reason.MAYBE_EXECUTED
            assert words in caught.value.message
            assert station.sim.executions["set_object_pose", PLACE] == 1

    played()


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_what_is_only_watched_or_relayed_goes_by_no_lane(tmp_path, mode):
    @virtual_time
    async def played():
        async with Station(FakeSimulator(), tmp_path, UNSAFE.replace("MODE", mode)) as station:
            calls = [station.ask("get_object_pose", bytes([10, 1, n])) for n in range(3)]
            assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 3
            assert station.sim.most_in_flight == 3

    played()


@pytest.mark.parametrize(
    ("config", "alone", "closed"),
    [
        ("{}", True, True),
        ("{}", False, False),
        ("{endpoint_check: false}", True, False),
        ("{endpoint_check: true}", False, True),
    ],
)
def test_the_listener_follows_the_simulators_port(tmp_path, config, alone, closed):
    @virtual_time
    async def played():
        sim = FakeSimulator()
        async with Station(sim, tmp_path, f"upstreams: {{geniesim: {config}}}") as station:
            await station.supervisor.watch.look()
            assert not station.upstream.keeps_closed(alone=alone)
            sim.comes_back = False
            sim.die()
            await station.supervisor.watch.look()
            assert station.upstream.keeps_closed(alone=alone) is closed

    played()


def test_a_reload_goes_on_with_the_same_simulator(tmp_path):
    @virtual_time
    async def played():
        async with Station(FakeSimulator(), tmp_path) as station, Station(FakeSimulator(), tmp_path / "b") as other:
            assert station.upstream.is_followed_by([station.upstream])
            assert not station.upstream.is_followed_by([other.upstream])
            await other.upstream.retire()

    played()
