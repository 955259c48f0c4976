"""One simulator through its lives, in virtual time."""

import asyncio
import time

import pytest

from blueprint_proxy.config import RestartSettings, SimulatorSettings
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.policies.simulator import Phase
from blueprint_proxy.upstreams.geniesim import methods
from blueprint_proxy.upstreams.geniesim.life_file import LifeFile
from blueprint_proxy.upstreams.geniesim.programs import Ended
from support.fake_simulator import FakeSimulator, Station
from support.virtual_time import virtual_time

SOON = "upstreams: {geniesim: {breaker: {age: 5s}, timeouts: {attempt: 60s}, retry: {base: 10ms, cap: 10ms}}}"


class FakeHook:
    words = "a fake hook"

    def __init__(self, does):
        self.does = does
        self.runs = 0

    async def run(self, _pid):
        self.runs += 1
        await asyncio.sleep(1.0)
        return self.does()


def simulator(*faults, config=SOON, init=True, **how):
    def decorate(act):
        @virtual_time
        async def played(tmp_path):
            sim = FakeSimulator(**how)
            async with Station(sim, tmp_path, config) as station:
                if init:
                    await station.ask("init_robot")
                sim.faults = list(faults)
                await act(station, sim)
                if station.supervisor.turns.holder is not None:
                    sim.die()

        return played

    return decorate


def hooked(station, does, **restart):
    station.supervisor.configure(
        _with(
            station,
            SimulatorSettings(RestartSettings(("x",), None, None, **{"cooldown": 30.0, "per_hour": 3} | restart)),
        )
    )
    station.supervisor.watch.configure(station.sim, station.sim.is_open)
    station.supervisor.hook = FakeHook(does)
    return station.supervisor.hook


def _with(station, settings):
    from dataclasses import replace

    return replace(station.config.upstreams["geniesim"], simulator=settings)


async def told(call):
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


def state(station):
    return [breaker.state(station.sweep.now()) for breaker in station.upstream.breakers().values()]


def test_an_old_call_is_a_hang_that_refuses_everybody_and_opens_the_breaker(tmp_path):
    @simulator("hang")
    async def act(station, sim):
        calls = [
            asyncio.ensure_future(told(station.ask(name, bytes([10, 1, n]), peer=f"p{n}")))
            for n, name in enumerate(["set_frame_state", "get_object_pose", "reset"])
        ]
        holder, *waiting = await asyncio.gather(*calls)
        assert (holder.reason, holder.sent) == (Reason.HUNG, True)
        assert [(one.reason, one.sent) for one in waiting] == [(Reason.HUNG, False)] * 2
        assert all("set_frame_state, in flight for 5" in one.message for one in (holder, *waiting))
        assert "configure upstreams.geniesim.restart" in holder.message
        assert state(station) == [State.OPEN]
        late = await told(station.ask("get_object_pose"))
        assert (late.reason, len(sim.calls)) == (Reason.HUNG, 2)

    act(tmp_path)


def test_a_hang_that_ends_by_itself_is_over(tmp_path):
    @simulator("stall:9")
    async def act(station, sim):
        assert (await told(station.ask("get_object_pose"))).reason is Reason.HUNG
        await station.upstream.quiet()
        assert station.supervisor.simulator.phase is Phase.READY
        assert state(station) == [State.CLOSED]
        assert (await station.ask("get_object_pose")).status == 200

    act(tmp_path)


def test_the_first_read_after_init_robot_has_longer(tmp_path):
    @simulator("stall:100", config="{}")
    async def act(station, sim):
        assert (await station.ask("get_joint_position")).status == 200
        sim.faults = ["stall:100"]
        assert (await told(station.ask("get_joint_position"))).reason is Reason.HUNG

    act(tmp_path)


def test_a_hook_kills_it_and_the_next_life_is_empty(tmp_path):
    @simulator("hang")
    async def act(station, sim):
        def kill():
            sim.die()
            return Ended(0, "killed")

        hook = hooked(station, kill)
        await told(station.ask("get_object_pose"))
        await asyncio.sleep(5.0)
        assert (hook.runs, station.supervisor.epoch) == (1, 2)
        assert (await told(station.ask("get_object_pose"))).reason is Reason.NOT_INITIALISED
        await station.ask("init_robot")
        assert (await station.ask("get_object_pose")).status == 200
        assert [event["outcome"] for event in station.heard.all("simulator_restarted")] == ["done"]

    act(tmp_path)


def test_a_hook_that_does_not_help_is_tried_within_its_budget(tmp_path):
    @simulator("hang")
    async def act(station, sim):
        hook = hooked(station, lambda: Ended(1, "no"))
        await told(station.ask("get_object_pose"))
        await asyncio.sleep(1800.0)
        assert hook.runs == 3
        assert "put_off" in [event["outcome"] for event in station.heard.all("simulator_restarted")]
        assert (await told(station.ask("get_object_pose"))).reason is Reason.HUNG

    act(tmp_path)


def test_an_init_that_hangs_has_a_budget_of_its_own(tmp_path):
    @simulator("hang", init=False)
    async def act(station, sim):
        hook = hooked(station, lambda: Ended(1, "no"), per_hour=100)
        await told(station.ask("init_robot"))
        await asyncio.sleep(1800.0)
        assert hook.runs == 2

    act(tmp_path)


def test_the_same_call_that_hung_it_twice_is_not_sent_a_third_time(tmp_path):
    @simulator()
    async def act(station, sim):
        for _ in range(2):
            sim.faults = ["hang"]
            await told(station.ask("get_object_pose", b"\n\x01a"))
            sim.die()
            await asyncio.sleep(2.0)
            await station.ask("init_robot", peer="another")
        refusal = await told(station.ask("get_object_pose", b"\n\x01a"))
        assert (refusal.reason, refusal.sent) == (Reason.QUARANTINED, False)
        assert "epoch 1" in refusal.message
        assert (await station.ask("get_object_pose", b"\n\x01b")).status == 200
        assert (await station.ask("get_object_pose", b"\n\x01a", peer="another")).status == 200

    act(tmp_path)


def test_an_idle_simulator_is_asked_for_a_heartbeat_and_a_busy_one_is_not(tmp_path):
    @simulator()
    async def act(station, sim):
        before = len(sim.calls)
        await asyncio.sleep(35.0)
        beats = sim.calls[before:]
        assert [(beat.target.decode(), beat.body) for beat in beats] == [methods.HEARTBEAT] * 3
        sim.faults = ["stall:4"]
        await station.ask("get_object_pose")
        assert len(sim.calls) == before + 4

    act(tmp_path)


def test_nothing_is_asked_of_one_that_has_not_answered_yet(tmp_path):
    @simulator(init=False)
    async def act(station, sim):
        await asyncio.sleep(60.0)
        assert sim.calls == []

    act(tmp_path)


def test_a_heartbeat_that_hangs_is_a_hang(tmp_path):
    @simulator("hang")
    async def act(station, sim):
        await asyncio.sleep(30.0)
        assert station.supervisor.simulator.phase is Phase.HUNG

    act(tmp_path)


def test_refused_connections_of_a_start_do_not_open_the_breaker(tmp_path):
    @simulator(respawn=3.0, config="upstreams: {geniesim: {breaker: {consecutive: 2}, retry: {attempts: 1}}}")
    async def act(station, sim):
        sim.die()
        for _ in range(5):
            assert (await told(station.ask("init_robot"))).sent is False
        assert state(station) == [State.CLOSED]

    act(tmp_path)


def test_a_light_without_lights_is_refused_at_the_door(tmp_path):
    @simulator()
    async def act(station, sim):
        call = station.upstream.rpc(
            "/aimdk.protocol.SimObservationService/set_light", (), b"", own={}, left=None, request_id="r", run=None
        )
        refusal = await told(station.upstream.send(call))
        assert (refusal.reason, refusal.sent) == (Reason.BAD_REQUEST, False)

    act(tmp_path)


def test_the_epoch_and_the_robot_outlive_the_sidecar(tmp_path):
    @virtual_time
    async def played():
        sim = FakeSimulator()
        async with Station(sim, tmp_path) as station:
            await station.ask("init_robot")
        async with Station(sim, tmp_path) as again:
            assert (await again.ask("get_object_pose")).status == 200
            assert again.supervisor.epoch == 1
        sim.die()
        await asyncio.sleep(2.0)
        async with Station(sim, tmp_path) as later:
            refusal = await told(later.ask("get_object_pose"))
            assert (refusal.reason, later.supervisor.epoch) == (Reason.NOT_INITIALISED, 2)

    played()


@pytest.mark.parametrize("visible", [True, False])
def test_what_a_sidecar_that_ends_leaves_in_the_slot_is_waited_for_by_the_next(visible, tmp_path):
    @virtual_time
    async def played():
        sim = FakeSimulator("", "stall:4", visible=visible)
        async with Station(sim, tmp_path, SOON) as station:
            await station.ask("init_robot")
            asked = asyncio.get_running_loop().create_task(station.ask("get_object_pose", b"left there"))
            await asyncio.sleep(2.0)
        await asyncio.wait([asked])
        assert asked.cancelled()
        assert LifeFile(tmp_path, "geniesim").busy_until() > time.time() + 2.0

    played()


def test_a_call_that_waits_for_what_another_sidecar_left_there_does_not_hang(tmp_path):
    LifeFile(tmp_path, "geniesim").busy(time.time() + 30.0)

    @simulator(init=False)
    async def act(station, _sim):
        before = station.sweep.now()
        assert (await station.ask("get_object_pose")).status == 200
        assert station.sweep.now() - before > 20.0
        assert not station.heard.all("simulator_hung")

    act(tmp_path)


def test_what_another_sidecar_left_in_a_simulator_that_is_gone_is_not_waited_for(tmp_path):
    LifeFile(tmp_path, "geniesim").busy(time.time() + 500.0)

    @simulator(init=False)
    async def act(station, sim):
        before = station.sweep.now()
        waiting = asyncio.get_running_loop().create_task(told(station.ask("get_object_pose")))
        await asyncio.sleep(2.0)
        sim.die()
        assert (await waiting).reason is Reason.NOT_INITIALISED
        assert station.sweep.now() - before < 10.0

    act(tmp_path)
