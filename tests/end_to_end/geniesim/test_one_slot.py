"""Many clients before one slot: right answers, one call at a time, and none left behind."""

import pytest

from support.genie_sim.client import ask_at_once, frame_state, object_pose
from support.genie_sim.faults import Fault

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize("clients", [2, 10])
def test_every_client_gets_its_own_answers_and_the_simulator_sees_one_call_at_a_time(scene, clients):
    it = scene()
    counted = ask_at_once(it.address, clients=clients, calls=50, timeout=60.0)
    assert counted == {"right": clients * 50}
    state = it.sim.state()
    assert (state["max_in_flight"], state["parked"]) == (1, 0)


def test_a_stall_that_clients_run_out_of_patience_with_is_taken_over_by_their_repeats(scene):
    it = scene(Fault("stall", 0.45, on="get_object_pose", times=20, every=5))
    first_try = again = 0
    for number in range(100):
        question = object_pose(number)
        outcome = it.job.ask(question, 0.3)
        first_try += outcome.kind == "right"
        if outcome.kind != "right":
            assert outcome.kind == "DEADLINE_EXCEEDED"
            again += 1
            assert it.job.ask(question, 1.0).kind == "right"
    assert again >= 20
    assert [it.job.ask(object_pose(1000 + number), 1.0).kind for number in range(100)] == ["right"] * 100
    state = it.sim.state()
    assert (state["max_in_flight"], state["parked"]) == (1, 0)
    assert it.sim.arrivals("get_object_pose") == 200


def test_an_unsafe_call_that_was_left_runs_once_and_its_repeat_gets_the_answer(scene):
    it = scene(Fault("stall", 0.6, on="set_frame_state"))
    question = frame_state(7)
    assert it.job.ask(question, 0.2).kind == "DEADLINE_EXCEEDED"
    assert it.job.ask(question, 5.0).kind == "right"
    assert it.sim.executions("set_frame_state") == 1
