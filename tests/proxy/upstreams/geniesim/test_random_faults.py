"""Random calls of several jobs, some of them impatient, while a simulator fails at random: what must never happen."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.rpc.codes import Code
from support.fake_simulator import FakeSimulator, Station, answer
from support.virtual_time import virtual_time

UNSAFE = {"set_frame_state", "reset"}
METHODS = ["get_object_pose", "get_joint_position", "set_object_pose", "set_frame_state", "reset"]
FAULTS = ["", "", "", "stall:0.3", "stall:7", "drop", "kill_before", "kill_after", "unknown", "error", "hang"]
HUNG_SOON = "upstreams: {geniesim: {operations: {'*': {breaker: {age: 20s}}}, retry: {base: 10ms, cap: 100ms}}}"

calls = st.tuples(
    st.sampled_from(METHODS),
    st.sampled_from([None, 0.2, 3.0]),  # the job's patience
    st.sampled_from([0.0, 0.01, 0.5]),  # how long it thinks before
)
jobs = st.lists(st.lists(calls, min_size=1, max_size=6), min_size=1, max_size=4)
faults = st.lists(st.sampled_from(FAULTS), max_size=12)


@settings(max_examples=150, deadline=None)
@given(jobs=jobs, faults=faults, visible=st.booleans(), respawn=st.sampled_from([0.005, 0.5]))
@example(  # the second job's call loses the connection while the first one's waits for its next attempt
    jobs=[[("get_object_pose", None, 0.0)], [("get_object_pose", None, 0.0)]],
    faults=["unknown", "kill_before"],
    visible=False,
    respawn=0.005,
)
def test_unsafe_calls_run_at_most_once_one_call_is_there_at_a_time_and_every_answer_is_the_callers_own(
    jobs, faults, visible, respawn
):
    @virtual_time
    async def played():
        sim = FakeSimulator(visible=visible, respawn=respawn)
        outcomes = Counter()
        with tempfile.TemporaryDirectory() as directory:
            async with Station(sim, Path(directory), HUNG_SOON) as station:
                await station.ask("init_robot")
                sim.faults = list(faults)
                await asyncio.gather(*(work(station, number, job, outcomes) for number, job in enumerate(jobs)))
                if station.supervisor.turns.holder is not None:
                    sim.die()  # what hangs would hang for ever
                await asyncio.wait_for(station.upstream.quiet(), 60.0)
        twice = {call: count for call, count in sim.executions.items() if call[0] in UNSAFE and count > 1}
        assert not twice
        assert sim.most_in_flight == 1
        assert not {call for call, lives in sim.lives.items() if len(lives) > 1 and call[0] != "init_robot"}
        assert outcomes["wrong"] == 0

    played()


async def work(station, number, job, outcomes):
    for index, (name, left, pause) in enumerate(job):
        await asyncio.sleep(pause)
        body = b"\x0a\x04" + bytes([0x40 + number, 0x40 + index, 0x41, 0x41])
        life = station.sim.life
        try:
            reply = await station.ask(name, body, left=left, peer=f"job {number}")
        except Refusal as refusal:
            outcomes[refusal.reason.value] += 1
            if refusal.sent is False:
                assert station.sim.executions[name, body] == 0, "it says that it was not sent"
            if refusal.reason in {Reason.NOT_INITIALISED, Reason.EPOCH_CHANGED}:
                await initialise(station, number)
            continue
        assert reply.ended.code in {Code.OK, Code.UNKNOWN}
        if reply.ended.code is Code.OK and b"ERROR" not in reply.body:
            right = reply.body == answer(name, body)
            outcomes["right" if right else "wrong"] += 1
            if name not in UNSAFE:
                assert station.sim.executions[name, body] >= 1
            assert life <= station.sim.life


async def initialise(station, number):
    for _ in range(50):
        try:
            await station.ask("init_robot", peer=f"job {number}")
        except Refusal:
            await asyncio.sleep(0.2)
        else:
            return
