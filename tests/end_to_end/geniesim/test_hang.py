"""A simulator that stands still: declared hung at its method's age, named in refusals, started again by the hook."""

import time

import grpc
import pytest

from support.genie_sim.client import frame_state, judged, object_pose
from support.genie_sim.faults import Fault

pytestmark = pytest.mark.end_to_end

SOON = {"operations": {"get_object_pose": {"breaker": {"age": "700ms"}}}}


def begun(caller, question, timeout=30.0):
    return caller.begin(question.method, question.request, timeout)


def until(holds, limit=10.0):
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def trailer(outcome, key):
    return dict(outcome.trailers).get(key)


def test_everybody_is_told_at_once_which_call_hangs(scene):
    it = scene(Fault("hang", on="get_object_pose"), keys=SOON)
    holder = begun(it.job, object_pose(1))
    waiting = [begun(it.caller(f"scene~{n}"), object_pose(n)) for n in range(5)]
    for number, call in enumerate([*waiting, holder]):
        outcome = judged(object_pose(number), call)
        assert (outcome.kind, trailer(outcome, "x-blueprint-error")) == ("UNAVAILABLE", "hung"), outcome
        assert "get_object_pose, in flight for 0." in outcome.details
        assert "configure upstreams.geniesim.restart" in outcome.details
    late = it.job.ask(object_pose(9))
    assert trailer(late, "x-blueprint-error") == "hung"
    assert trailer(late, "x-blueprint-not-sent") == "true"
    shown = it.shown()
    assert shown["simulator"]["phase"] == "hung"
    assert shown["simulator"]["slot"]["operation"] == "get_object_pose"
    assert shown["simulator"]["slot"]["orphaned"]
    assert [breaker["state"] for breaker in shown["breakers"] if not breaker["owner"]] == ["open"]
    assert it.sim.state()["max_in_flight"] == 1
    assert it.sim.arrivals("get_object_pose") == 1
    it.sim.release()
    it.until(lambda seen: seen["phase"] == "ready")
    assert it.job.ask(object_pose(3)).kind == "right"


def restarted(**restart):
    """Keys with a hook that kills the simulator."""
    return lambda sim: {"restart": {"command": sim.kill_command, **restart}, **SOON}


def test_the_restart_hook_brings_a_new_epoch_and_jobs_are_told_to_initialise_again(scene):
    it = scene(keys=restarted(cooldown="1s"))
    sim = it.sim
    with sim.respawned():
        sim.fault(Fault("hang", on="get_object_pose"))
        outcome = it.job.ask(object_pose(1))
        assert trailer(outcome, "x-blueprint-error") == "hung"
        assert "kill -9" in outcome.details
        it.until(lambda seen: seen["epoch"] == 2 and seen["phase"] in {"booting", "empty"})
        refused = it.job.ask(object_pose(1))
        assert (refused.kind, trailer(refused, "x-blueprint-error")) == ("FAILED_PRECONDITION", "not_initialised")
        assert "epoch 2" in refused.details
        assert trailer(refused, "x-blueprint-epoch") == "2"
        it.init()
        fine = it.job.ask(object_pose(1))
        assert (fine.kind, trailer(fine, "x-blueprint-epoch")) == ("right", "2")
    assert [line["outcome"] for line in it.events("simulator_restarted")] == ["done"], it.proxy.log


def test_a_simulator_that_does_not_come_back_is_not_restarted_again_and_again(scene):
    it = scene(keys=restarted(cooldown="100ms"))
    it.sim.fault(Fault("hang", on="get_object_pose"))
    it.job.ask(object_pose(1))
    it.until(lambda seen: seen["phase"] == "down")
    for number in range(20):
        assert it.job.ask(object_pose(number)).kind == "FAILED_PRECONDITION"
    assert len(it.events("simulator_restarted")) == 1


def test_a_hook_that_does_nothing_is_tried_within_its_budget_only(scene):
    it = scene(
        Fault("hang", on="get_object_pose"),
        keys={"restart": {"command": ["/bin/true"], "cooldown": "100ms", "per_hour": 2}, **SOON},
    )
    it.job.ask(object_pose(1))
    it.until(
        lambda _: any(line["outcome"] == "put_off" and line["wait"] > 60 for line in it.events("simulator_restarted"))
    )
    assert [line["outcome"] for line in it.events("simulator_restarted")].count("done") == 2


def test_a_signal_to_the_process_group_is_a_hook_too(scene):
    it = scene(Fault("hang", on="get_object_pose"), keys={"restart": {"signal": "SIGKILL"}, **SOON})
    it.job.ask(object_pose(1))
    it.sim.wait()
    it.until(lambda seen: seen["phase"] == "down" and seen["epoch"] == 2)


def test_a_call_that_hung_it_twice_is_quarantined_for_its_run(scene):
    it = scene(keys=restarted(cooldown="10ms"))
    sim = it.sim
    for epoch in (2, 3):
        sim.fault(Fault("hang", on="get_object_pose"))
        assert trailer(it.job.ask(object_pose(1)), "x-blueprint-error") == "hung"
        it.until(lambda seen, epoch=epoch: seen["epoch"] == epoch)
        sim.restart()
        it.job.ready(10.0)
        it.until(lambda seen: seen["phase"] == "booting" and seen["identity"])
        it.init()
    refused = it.job.ask(object_pose(1))
    assert (refused.kind, trailer(refused, "x-blueprint-error")) == ("FAILED_PRECONDITION", "quarantined")
    assert "epoch 1" in refused.details
    assert it.job.ask(object_pose(2)).kind == "right"
    assert it.caller("scene~other").ask(object_pose(1)).kind == "right"


def test_a_light_without_lights_never_reaches_the_simulator(scene):
    it = scene()
    with pytest.raises(grpc.RpcError) as caught:
        it.job.call("set_light", b"")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert it.sim.arrivals("set_light") == 0


def test_a_queue_that_is_full_says_what_holds_the_slot(scene):
    it = scene(Fault("hang", on="get_object_pose"), keys={"concurrency": {"queue": 1}})
    first = begun(it.job, object_pose(1))
    it.sim.until(lambda state: state["standing"])
    second = begun(it.caller("a~b"), object_pose(2))
    until(lambda: it.shown()["queued"] == 1)
    outcome = it.caller("c~d").ask(object_pose(3))
    assert (outcome.kind, trailer(outcome, "x-blueprint-error")) == ("UNAVAILABLE", "overloaded")
    assert "get_object_pose, which has held the slot for" in outcome.details
    assert trailer(outcome, "x-blueprint-not-sent") == "true"
    it.sim.release()
    assert judged(object_pose(1), first).kind == "right"
    assert judged(object_pose(2), second).kind == "right"


def test_unsafe_calls_give_up_after_their_own_patience_and_stay_in_the_slot(scene):
    it = scene(
        Fault("stall", 1.0, on="set_frame_state"),
        keys={"operations": {"set_frame_state": {"timeouts": {"attempt": "300ms"}}}},
    )
    outcome = it.job.ask(frame_state(1))
    assert outcome.kind == "DEADLINE_EXCEEDED"
    assert trailer(outcome, "x-blueprint-maybe-executed") == "true"
    assert it.job.ask(object_pose(1)).kind == "right"
    assert it.sim.executions("set_frame_state") == 1
