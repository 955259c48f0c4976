"""What is sent again to a simulator, and what is said of a call that may have run."""

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.rpc.codes import Code
from support.fake_simulator import FakeSimulator, Station, message
from support.virtual_time import virtual_time

SWIFT = "upstreams: {geniesim: {retry: {base: 10ms, cap: 10ms}}}"


async def told(call):
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


def simulator(*faults, config=SWIFT, **how):
    def decorate(act):
        @virtual_time
        async def played(tmp_path):
            sim = FakeSimulator(**how)
            async with Station(sim, tmp_path, config) as station:
                await station.ask("init_robot")
                sim.faults = list(faults)
                await act(station, sim)

        return played

    return decorate


@pytest.mark.parametrize("name", ["get_object_pose", "set_object_pose"])
def test_a_read_and_an_absolute_write_are_sent_again_into_the_same_life(tmp_path, name):
    @simulator("drop")
    async def act(station, sim):
        reply = await station.ask(name, b"\n\x01a")
        assert (reply.status, reply.attempts) == (200, 2)
        assert sim.most_in_flight == 1

    act(tmp_path)


def test_an_unsafe_call_is_not_and_its_refusal_says_that_it_may_have_run(tmp_path):
    @simulator("drop")
    async def act(station, sim):
        refusal = await told(station.ask("set_frame_state", b"\n\x01a"))
        assert (refusal.reason, refusal.sent, refusal.final) == (Reason.MAYBE_EXECUTED, True, True)
        assert sim.executions["set_frame_state", b"\n\x01a"] == 1

    act(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("get_object_pose", Reason.EPOCH_CHANGED),
        ("set_object_pose", Reason.EPOCH_CHANGED),
        ("set_frame_state", Reason.MAYBE_EXECUTED),
    ],
)
@pytest.mark.parametrize("fault", ["kill_before", "kill_after"])
@pytest.mark.parametrize("respawn", [0.0, 0.02])
def test_nothing_goes_from_one_life_into_the_next(tmp_path, name, reason, fault, respawn):
    @simulator(fault, respawn=respawn, config="upstreams: {geniesim: {retry: {base: 100ms, attempts: 9}}}")
    async def act(station, sim):
        refusal = await told(station.ask(name, b"\n\x01a"))
        assert refusal.reason is reason
        assert sim.lives[name, b"\n\x01a"] == {1}

    act(tmp_path)


def test_what_was_not_sent_is_sent_whatever_it_is(tmp_path):
    @simulator(respawn=0.2, config="upstreams: {geniesim: {retry: {base: 200ms, cap: 200ms, attempts: 20}}}")
    async def act(station, sim):
        sim.die()
        await station.ask("init_robot", b"\n\x01x")  # unsafe, and refused a few times
        assert sim.executions["init_robot", b"\n\x01x"] == 1

    act(tmp_path)


def test_while_nobody_knows_which_process_it_is_nothing_that_may_have_run_is_sent_again(tmp_path):
    @simulator("drop", visible=False)
    async def act(station, sim):
        refusal = await told(station.ask("get_object_pose", b"\n\x01a"))
        assert refusal.reason is Reason.UPSTREAM_UNREACHABLE
        assert sim.executions["get_object_pose", b"\n\x01a"] == 1

    act(tmp_path)


def test_unknown_is_asked_once_more_for_a_read_and_for_nothing_else(tmp_path):
    @simulator("unknown", "", "unknown", "unknown", "unknown")
    async def act(station, sim):
        assert (await station.ask("get_object_pose", b"\n\x01a")).ended.code is Code.OK
        assert (await station.ask("get_object_pose", b"\n\x01b")).ended.code is Code.UNKNOWN
        assert (await station.ask("set_object_pose", b"\n\x01c")).ended.code is Code.UNKNOWN
        assert sim.executions["get_object_pose", b"\n\x01b"] == 2
        assert sim.executions["set_object_pose", b"\n\x01c"] == 1

    act(tmp_path)


def test_an_error_inside_of_an_ok_is_not_sent_again(tmp_path):
    @simulator("error")
    async def act(station, sim):
        reply = await station.ask("set_frame_state", b"\n\x01a")
        assert reply.body == message("ERROR: a fault that was asked for")
        assert sim.executions["set_frame_state", b"\n\x01a"] == 1

    act(tmp_path)


def test_a_lost_answer_to_exit_is_success(tmp_path):
    @simulator("kill_after")
    async def act(station, sim):
        reply = await station.ask("exit", b"\x08\x01")
        assert (reply.ended.code, reply.body, reply.source) == (Code.OK, b"", "proxy")
        assert sim.executions["exit", b"\x08\x01"] == 1

    act(tmp_path)
