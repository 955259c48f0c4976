"""Turns for one slot: what waits, what is left in it, and who gets an answer that nobody waited for."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal
from support.fake_simulator import FakeSimulator, Station, answer
from support.virtual_time import virtual_time


def lane(config=""):
    """Plays `act(station)` with an initialised simulator."""

    def decorate(act):
        @virtual_time
        async def played(tmp_path):
            async with Station(FakeSimulator(), tmp_path, config) as station:
                await station.ask("init_robot")
                await act(station)

        return played

    return decorate


async def refused(call):
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


def begun(station, *words, **how):
    return asyncio.ensure_future(station.ask(*words, **how))


def test_calls_go_one_after_the_other_whoever_makes_them(tmp_path):
    @lane()
    async def act(station):
        asked = [begun(station, "get_object_pose", bytes([10, 1, n]), peer=f"p{n % 3}") for n in range(9)]
        replies = await asyncio.gather(*asked)
        assert [reply.body for reply in replies] == [answer("get_object_pose", bytes([10, 1, n])) for n in range(9)]
        assert station.sim.most_in_flight == 1

    act(tmp_path)


def test_a_job_that_leaves_leaves_its_call_in_the_slot_and_nothing_of_its_deadline_goes_up(tmp_path):
    @lane()
    async def act(station):
        station.sim.faults = ["stall:2"]
        told = await refused(station.ask("get_object_pose", b"\n\x01a", left=0.3))
        assert told.reason is Reason.DEADLINE_EXCEEDED
        assert station.supervisor.doing.orphaned
        assert station.sim.calls[-1].upward is None
        assert station.sim.calls[-1].settings.timeouts.attempt is None
        await station.upstream.quiet()
        assert station.sim.executions["get_object_pose", b"\n\x01a"] == 1

    act(tmp_path)


def test_its_own_repeat_takes_the_call_over(tmp_path):
    @lane()
    async def act(station):
        station.sim.faults = ["stall:2"]
        await refused(station.ask("get_object_pose", b"\n\x01a", left=0.3))
        assert (await station.ask("get_object_pose", b"\n\x01a")).body == answer("get_object_pose", b"\n\x01a")
        assert station.sim.executions["get_object_pose", b"\n\x01a"] == 1
        assert [event["how"] for event in station.heard.all("call_joined")] == ["in_flight"]

    act(tmp_path)


def test_an_answer_that_came_too_late_is_kept_for_the_repeat_and_given_once(tmp_path):
    @lane()
    async def act(station):
        station.sim.faults = ["stall:1"]
        await refused(station.ask("set_frame_state", b"\n\x01a", left=0.3))
        await station.upstream.quiet()
        await station.ask("set_frame_state", b"\n\x01a")
        assert station.sim.executions["set_frame_state", b"\n\x01a"] == 1
        await station.ask("set_frame_state", b"\n\x01a")
        assert station.sim.executions["set_frame_state", b"\n\x01a"] == 2

    act(tmp_path)


def test_another_jobs_equal_call_is_another_call(tmp_path):
    @lane()
    async def act(station):
        station.sim.faults = ["stall:1"]
        await refused(station.ask("get_object_pose", b"\n\x01a", left=0.3))
        await station.ask("get_object_pose", b"\n\x01a", peer="another")
        assert station.sim.executions["get_object_pose", b"\n\x01a"] == 2

    act(tmp_path)


def test_a_full_queue_says_what_holds_the_slot(tmp_path):
    @lane("upstreams: {geniesim: {concurrency: {queue: 1}}}")
    async def act(station):
        station.sim.faults = ["stall:1"]
        calls = [begun(station, "get_object_pose", bytes([10, 1, n]), peer=f"p{n}") for n in range(2)]
        await asyncio.sleep(0.5)
        told = await refused(station.ask("get_joint_position"))
        assert (told.reason, told.sent) == (Reason.OVERLOADED, False)
        assert "get_object_pose, which has held the slot for 0.5 s" in told.message
        await asyncio.gather(*calls)

    act(tmp_path)


def test_a_call_waits_for_its_turn_no_longer_than_it_may(tmp_path):
    @lane("upstreams: {geniesim: {concurrency: {queue_timeout: 1s}}}")
    async def act(station):
        station.sim.faults = ["stall:3"]
        first = begun(station, "get_object_pose", b"\n\x01a")
        await asyncio.sleep(0.1)
        told = await refused(station.ask("get_joint_position", peer="another"))
        assert (told.reason, told.sent) == (Reason.OVERLOADED, False)
        assert "get_object_pose has held it for 1." in told.message
        await first
        assert len(station.sim.calls) == 2  # init_robot and the first

    act(tmp_path)


def test_an_unsafe_call_has_a_patience_of_its_own_and_a_read_waits_for_its_answer(tmp_path):
    @lane("upstreams: {geniesim: {timeouts: {attempt: 2s}}}")
    async def act(station):
        station.sim.faults = ["stall:3", "stall:3"]
        told = await refused(station.ask("set_frame_state", b"\n\x01a"))
        assert (told.reason, told.sent) == (Reason.DEADLINE_EXCEEDED, True)
        assert (await station.ask("get_object_pose", b"\n\x01a")).status == 200

    act(tmp_path)


def test_at_the_end_what_is_in_the_slot_is_left_there(tmp_path):
    @lane()
    async def act(station):
        station.sim.faults = ["stall:1000"]
        first = begun(station, "get_object_pose", b"\n\x01a")
        waiting = begun(station, "get_joint_position")
        await asyncio.sleep(0.1)
        await station.supervisor.turns.end()
        for call in (first, waiting):
            with pytest.raises(asyncio.CancelledError):
                await call

    act(tmp_path)
