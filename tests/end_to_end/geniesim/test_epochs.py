"""One life of the simulator after another: what was sent into one is never sent into the next."""

import signal

import grpc
import pytest

from blueprint_clients.genie_sim.messages import load
from support.genie_sim.client import Question, camera, frame_state, judged, object_pose, part_joint
from support.genie_sim.faults import Fault
from support.proxy import RunningProxy

pytestmark = pytest.mark.end_to_end


def trailer(outcome, key):
    return dict(outcome.trailers).get(key)


def reason(outcome):
    return outcome.kind, trailer(outcome, "x-blueprint-error")


def anything(method, **fields):
    """A question whose every answer is right."""
    return Question(method, load().methods[method].request(**fields).SerializeToString(), lambda _: True)


SET_JOINTS = anything("set_joint_position", commands=[{"name": "joint_00", "position": 0.5}])
PLACE = anything(
    "set_object_pose",
    object_pose=[{"prim_path": "/World/cup", "pose": {"position": {"x": 1.0, "y": 2.0}, "rpy": {"rw": 1.0}}}],
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (object_pose(1), ("FAILED_PRECONDITION", "epoch_changed")),
        (SET_JOINTS, ("FAILED_PRECONDITION", "epoch_changed")),
        (frame_state(1), ("UNKNOWN", "maybe_executed")),
    ],
    ids=["read_only", "idempotent", "unsafe"],
)
def test_a_call_that_was_with_a_simulator_that_died_is_not_sent_into_the_next(scene, question, expected):
    it = scene(Fault("kill", on=question.method))
    with it.sim.respawned():
        outcome = it.job.ask(question)
        assert reason(outcome) == expected, outcome
        assert "epoch 1" in outcome.details
        assert "epoch 2" in outcome.details
        assert trailer(outcome, "x-blueprint-epoch") == "2"
        it.until(lambda seen: seen["epoch"] == 2 and seen["phase"] in {"booting", "empty"})
        assert reason(it.job.ask(object_pose(5))) == ("FAILED_PRECONDITION", "not_initialised")
        it.init()
        assert it.job.ask(object_pose(5)).kind == "right"
    assert it.sim.arrivals(question.method, question.request) == 1


def test_a_dropped_connection_to_a_living_simulator_is_the_same_epoch_and_a_read_is_sent_again(scene):
    it = scene(Fault("drop", on="get_object_pose"))
    outcome = it.job.ask(object_pose(1))
    assert (outcome.kind, trailer(outcome, "x-blueprint-epoch")) == ("right", "1"), outcome
    assert trailer(outcome, "x-blueprint-attempts") == "2"
    state = it.sim.state()
    assert (state["max_in_flight"], state["parked"]) == (1, 0)
    assert it.until(lambda seen: seen["slot"] is None)["phase"] == "ready"


def test_an_unsafe_call_on_a_dropped_connection_may_have_run_and_is_not_sent_again(scene):
    it = scene(
        Fault("drop", on="set_frame_state"),
        keys={"operations": {"set_frame_state": {"timeouts": {"attempt": "1s"}}}},
    )
    outcome = it.job.ask(frame_state(1))
    assert reason(outcome) in {("UNKNOWN", "maybe_executed"), ("DEADLINE_EXCEEDED", "deadline_exceeded")}, outcome
    assert trailer(outcome, "x-blueprint-maybe-executed") == "true"
    assert it.job.ask(object_pose(1)).kind == "right"
    assert it.sim.executions("set_frame_state") == 1


def test_an_object_that_may_have_been_placed_is_looked_at_before_the_job_is_told(scene):
    it = scene(
        Fault("drop", on="set_object_pose"),
        keys={"operations": {"set_object_pose": {"class": "unsafe"}}},
    )
    outcome = it.job.ask(PLACE)
    assert reason(outcome) == ("UNKNOWN", "maybe_executed"), outcome
    assert "read back: /World/cup stands where this call wanted it" in outcome.details
    assert it.sim.executions("set_object_pose") == 1


def test_a_sidecar_that_was_killed_comes_back_into_the_same_epoch(scene):
    it = scene()
    assert it.job.ask(object_pose(1)).kind == "right"
    it.proxy.kill()
    again = RunningProxy(it.proxy.directory, it.proxy.config)
    try:
        it.job.ready(10.0)
        outcome = it.job.ask(object_pose(2))
        assert (outcome.kind, trailer(outcome, "x-blueprint-epoch")) == ("right", "1")
        assert it.sim.executions("init_robot") == 1
    finally:
        it.proxy.process, it.proxy._read_so_far = again.process, 0
    assert it.shown()["simulator"]["phase"] == "ready"


def test_a_sidecar_that_was_killed_in_the_middle_of_a_motion_lets_that_end_first(scene):
    it = scene(motion_ticks=120, keys={"operations": {"linear_move": {"timeouts": {"attempt": "4s"}}}})
    move = anything("linear_move", pose={"position": {"x": 1.0}})
    call = it.job.begin(move.method, move.request)
    it.sim.until(lambda state: state["waiting"] == 1)
    it.proxy.kill()
    assert judged(move, call).kind == "UNAVAILABLE"
    again = RunningProxy(it.proxy.directory, it.proxy.config)
    it.proxy.process, it.proxy._read_so_far = again.process, 0
    it.job.ready(10.0)
    assert it.job.ask(object_pose(1), 20.0).kind == "right"
    state = it.sim.state()
    assert (state["max_in_flight"], state["moves"]) == (1, 1)


def test_a_simulator_that_changed_while_the_sidecar_was_away_is_a_new_epoch(scene):
    it = scene()
    it.proxy.kill()
    it.sim.restart()
    again = RunningProxy(it.proxy.directory, it.proxy.config)
    it.proxy.process, it.proxy._read_so_far = again.process, 0
    it.job.ready(10.0)
    outcome = it.job.ask(object_pose(2))
    assert (reason(outcome), trailer(outcome, "x-blueprint-epoch")) == (
        ("FAILED_PRECONDITION", "not_initialised"),
        "2",
    )
    assert it.sim.arrivals("get_object_pose") == 0


def test_a_frozen_simulator_goes_on_where_it_was(scene):
    it = scene(Fault("freeze", on="get_object_pose"))
    question = object_pose(1)
    call = it.job.begin(question.method, question.request)
    it.sim.wait_until_frozen()
    it.sim.thaw()
    assert judged(question, call).kind == "right"
    assert it.sim.arrivals("get_object_pose") == 1


def test_a_zombie_that_keeps_its_port_open_is_a_hang(scene):
    it = scene(
        Fault("zombie", on="get_object_pose"),
        keys={"operations": {"get_object_pose": {"breaker": {"age": "500ms"}}}, "restart": {"signal": "KILL"}},
    )
    assert reason(it.job.ask(object_pose(1))) == ("UNAVAILABLE", "hung")
    assert it.sim.wait() == -signal.SIGKILL
    it.until(lambda seen: seen["epoch"] == 2)


def test_calls_before_the_port_is_open_were_not_sent_and_do_not_open_the_breaker(scene):
    it = scene(init=False, boot_s=4.0)
    it.until(lambda seen: seen["phase"] == "down")
    for number in range(8):
        outcome = it.job.ask(object_pose(number))
        assert outcome.kind in {"UNAVAILABLE", "FAILED_PRECONDITION"}
        assert trailer(outcome, "x-blueprint-not-sent") == "true", outcome
    assert [breaker["state"] for breaker in it.shown()["breakers"]] == ["closed"]
    it.sim.wait_until_listening()
    it.until(lambda seen: seen["identity"] is not None)
    assert reason(it.job.ask(object_pose(1))) == ("FAILED_PRECONDITION", "not_initialised")
    it.init()
    assert it.job.ask(object_pose(1)).kind == "right"


def test_a_slow_start_of_the_loop_is_no_hang(scene):
    it = scene(
        init=False,
        boot_s=4.0,
        warm_up_s=2.0,
        keys={"operations": {"set_task_metric": {"breaker": {"age": "500ms"}}}},
    )
    it.until(lambda seen: seen["phase"] == "down")
    it.sim.wait_until_listening()
    it.until(lambda seen: seen["phase"] == "booting")
    assert it.job.said("set_task_metric", 20.0, metric="{}")
    it.init()
    assert it.events("simulator_hung") == []


def test_a_failed_init_leaves_it_not_initialised(scene):
    it = scene(init=False, boot_s=4.0)
    it.until(lambda seen: seen["phase"] == "down")
    it.sim.wait_until_listening()
    it.until(lambda seen: seen["phase"] == "booting")
    it.sim.fault(Fault("init_fails"))
    assert it.job.init_robot().startswith("error")
    assert reason(it.job.ask(object_pose(1))) == ("FAILED_PRECONDITION", "not_initialised")
    it.init()
    assert it.job.ask(object_pose(1)).kind == "right"


def test_an_error_inside_of_an_ok_passes_and_is_a_failure_for_everybody_else(scene):
    it = scene(Fault("error", on="set_frame_state"))
    question = frame_state(1)
    call = it.job.begin(question.method, question.request)
    assert b"ERROR:" in call.result()
    assert dict(call.trailing_metadata())["x-blueprint-app-error"].startswith("ERROR: ")
    assert it.sim.executions("set_frame_state") == 1
    assert len(it.events("app_error_seen")) == 1
    metrics = it.proxy.get_admin("/metrics")[1].decode()
    assert (
        'blueprint_proxy_calls_total{operation="set_frame_state",outcome="failed",upstream="geniesim"} 1.0' in metrics
    )


def test_an_error_inside_of_an_ok_can_be_made_a_status(scene):
    it = scene(Fault("error", on="set_frame_state"), keys={"app_errors": "fail"})
    outcome = it.job.ask(frame_state(1))
    assert outcome.kind == "FAILED_PRECONDITION"
    assert outcome.details.startswith("ERROR: ")
    assert it.sim.executions("set_frame_state") == 1


def test_an_unknown_answer_to_a_read_is_asked_for_once_more(scene):
    it = scene(Fault("error", on="get_part_dof_joint"))
    assert it.job.ask(part_joint(1)).kind == "right"
    it.sim.fault(Fault("error", on="get_part_dof_joint", times=0))
    assert it.job.ask(part_joint(2)).kind == "UNKNOWN"
    assert it.sim.arrivals("get_part_dof_joint") == 4


def test_a_picture_of_six_megabytes_comes_through_and_one_over_the_servers_limit_is_not_asked_for_again(scene):
    it = scene(patched=True)
    assert it.job.ask(camera("head"), 30.0).kind == "right"
    it.sim.fault(Fault("oversize", times=0))
    assert it.job.ask(camera("head"), 30.0).kind == "RESOURCE_EXHAUSTED"
    assert it.sim.arrivals("get_camera_data") == 2


def test_a_lost_reply_to_exit_is_success_and_the_next_life_is_left_alone(scene):
    it = scene(Fault("lost_exit"))
    with it.sim.respawned():
        reply = it.job.begin("exit", load().methods["exit"].request(exit=True), 30.0)
        assert reply.code() is grpc.StatusCode.OK
        assert reply.result() == b""
        assert dict(reply.trailing_metadata())["x-blueprint-source"] == "proxy"
        it.until(lambda seen: seen["epoch"] == 2 and seen["identity"] is not None)
    assert it.sim.arrivals("exit") == 1


def test_two_simulators_on_one_port_cannot_be_told_apart_and_nothing_is_sent_again(scene):
    it = scene()
    it.sim.beside()
    seen = it.until(lambda seen: seen["phase"] == "unverified")
    assert "2 processes listen" in seen["unknown"]
