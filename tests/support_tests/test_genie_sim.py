"""The stand-in does what the real simulator does with one caller at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from blueprint_clients.genie_sim.messages import load
from support.genie_sim.client import Caller, camera, frame_state, mixed, object_pose, part_joint
from support.genie_sim.simulation import NUMBERED

if TYPE_CHECKING:
    from support.genie_sim.process import StartGenieSim

NOTHING = b""


def failure(caller: Caller, method: str, request: bytes = NOTHING, timeout: float = 5.0) -> tuple[str, str]:
    """Code and details of a call that fails."""
    call = caller.begin(method, request, timeout)
    assert call.exception() is not None, call.result()
    return call.code().name, call.details()


def fields(method: str, answer: bytes) -> Any:
    return load().methods[method].response.FromString(answer)


def request(method: str, **given: Any) -> bytes:
    return load().methods[method].request(**given).SerializeToString()


def test_calls_one_after_the_other_are_all_right(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert caller.init_robot() == "success"
        assert [caller.ask(mixed(number)).kind for number in range(30)] == ["right"] * 30
    state = sim.state()
    assert state["max_in_flight"] == 1
    assert (state["waiting"], state["parked"]) == (0, 0)
    assert "misdelivered" not in state["counts"]


def test_every_method_of_a_stock_server_is_there_and_no_other(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(motion_ticks=2, gripper_ticks=2)
    last = {"set_light", "exit"}
    codes: dict[str, str] = {}
    with Caller(sim.address) as caller:
        caller.init_robot()
        for method in sorted(set(load().methods) - last):
            call = caller.begin(method, NOTHING, timeout=5.0)
            call.exception()
            codes[method] = call.code().name
        hand = caller.channel.unary_unary("/aimdk.protocol.HalHandService/get_hand_state")
        with pytest.raises(grpc.RpcError) as missing:
            hand(NOTHING, timeout=5.0)
    assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert {method for method, code in codes.items() if code == "UNIMPLEMENTED"} == {
        "get_contact_report",
        "get_ee_wrench",
    }
    assert {method for method, code in codes.items() if code == "UNKNOWN"} == {
        "get_camera_data",
        "get_camera_info",
        "get_semantic_data",
        "set_material",
    }
    assert set(codes.values()) == {"OK", "UNKNOWN", "UNIMPLEMENTED"}


def test_before_init_robot_articulations_fail_and_objects_stand_nowhere(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert failure(caller, "get_joint_position")[0] == "UNKNOWN"
        assert failure(caller, "get_ee_pose")[0] == "UNKNOWN"
        assert caller.said("linear_move").startswith("ERROR: ")
        assert caller.said("reset", reset=True).startswith("ERROR: ")
        assert caller.ask(object_pose(1)).kind == "wrong"
        assert caller.said("set_task_metric", metric="{}") == "set task metric"
        assert sim.state()["initialised"] is False


def test_init_robot_blocks_every_other_call_while_it_works(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(init_s=30.0)
    with Caller(sim.address) as caller:
        first = caller.begin("init_robot", request("init_robot", robot_cfg_file="robot.json"))
        sim.until(lambda state: state["standing"])
        assert failure(caller, "set_task_metric", timeout=0.2)[0] == "DEADLINE_EXCEEDED"
        sim.release()
        assert sim.until(lambda state: state["inits"] == 1)["initialised"]
        first.cancel()


def test_a_motion_holds_the_mailbox_for_its_ticks(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(motion_ticks=20)
    with Caller(sim.address) as caller:
        caller.init_robot()
        before = sim.state()["ticks"]
        assert caller.said("linear_move", pose={"position": {"x": 1.0}}) == "True"
        assert sim.state()["ticks"] - before >= 19
    assert sim.executions("linear_move") == 1
    assert sim.state()["moves"] == 1


def test_a_joint_that_was_set_is_read_back(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        command = [{"name": "joint_03", "position": 0.25}]
        assert caller.said("set_joint_position", commands=command) == "Move Joint"
        caller.init_robot()
        assert caller.said("set_joint_position", commands=command) == "Move Joint"
        states = fields("get_joint_position", caller.call("get_joint_position")).states
    assert len(states) == 46
    assert {state.name: state.position for state in states}["joint_03"] == 0.25


def test_an_object_that_was_placed_is_read_back(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    pose = {"position": {"x": 4.0}, "rpy": {"rw": 1.0}}
    with Caller(sim.address) as caller:
        added = caller.call(
            "add_object", request("add_object", prim_path="/World/crate", label_name="crate", object_pose=pose)
        )
        assert (fields("add_object", added).label_name, fields("add_object", added).prim_path) == ("crate", "")
        moved = {"prim_path": f"{NUMBERED}1", "pose": pose}
        assert caller.said("set_object_pose", object_pose=[moved]) == "set object pose"
        for path in ("/World/crate", f"{NUMBERED}1"):
            found = fields(
                "get_object_pose", caller.call("get_object_pose", request("get_object_pose", prim_path=path))
            )
            assert found.object_pose.position.x == 4.0


def test_frame_states_are_appended_until_a_task_description_or_a_reset(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        caller.init_robot()
        question = frame_state(1)
        assert [caller.ask(question).kind for _ in range(2)] == ["right", "right"]
        assert sim.state()["frame_status"] == [{"frame": 1}, {"frame": 1}]
        assert sim.executions("set_frame_state", question.request) == 2
        caller.said("set_frame_state", frame_state=json.dumps({"task_description": "stack"}))
        assert sim.state()["frame_status"] == [{"task_description": "stack"}]
        assert caller.said("reset", reset=True) == "reset"
        sim.until(lambda state: not state["frame_status"])


def test_a_second_start_of_a_recording_is_a_second_recording(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        caller.init_robot()
        start = {"startRecording": True, "task_name": "stack", "fps": 30}
        assert [caller.said("get_observation", **start) for _ in range(2)] == ["Start", "Start"]
        assert sim.state()["recordings"] == ["stack", "stack_1"]
        assert caller.said("get_observation", stopRecording=True) == "Stop"
        assert sim.state()["recording"] is None
        assert failure(caller, "get_observation", request("get_observation", isJoint=True))[0] == "UNKNOWN"
        assert caller.call("get_observation") == NOTHING


def test_lights_that_are_none_are_never_answered(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert caller.said("set_light", lights=[{"light_prim": "/World/lamp"}]) == "success"
        assert failure(caller, "set_light", timeout=0.2)[0] == "DEADLINE_EXCEEDED"
    assert sim.until(lambda state: state["parked"] == 1)["waiting"] == 1


def test_a_dead_command_answers_ok_with_an_error_in_it(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert caller.said("set_trajectory_list") == "ERROR: Invalid command: 25"
        assert "'_Context' object has no attribute 'encode'" in failure(caller, "set_material")[1]


def test_a_state_is_stored_only_after_a_target_point(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        caller.init_robot()
        assert caller.said("store_current_state", playback_id="a").startswith("ERROR: ")
        caller.said("set_target_point", point_position={"x": 1.0})
        assert caller.said("store_current_state", playback_id="a") == "store current state"
        assert caller.said("playback", playback_id="a") == "playback"


def test_a_checker_that_failed_answers_for_the_next_one(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert caller.said("get_checker_status", checker="{}").startswith("ERROR: ")
        assert caller.said("get_checker_status", checker='{"checker": "follow"}').startswith("ERROR: ")


def test_a_patched_build_sends_pictures_up_to_the_servers_limit(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(patched=True)
    with Caller(sim.address) as caller:
        small = camera("wrist/848x480")
        assert caller.ask(small).kind == "right"
        picture = caller.call("get_camera_data", camera("head").request)
        assert 6_451_200 < len(picture) < 6_451_400
        assert failure(caller, "get_camera_data", camera("head_stereo/1920x1536").request)[0] == "RESOURCE_EXHAUSTED"
        assert caller.ask(small).kind == "right"


def test_a_patched_build_has_the_two_reports_and_plain_observations(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(patched=True)
    with Caller(sim.address) as caller:
        caller.init_robot()
        assert fields("get_contact_report", caller.call("get_contact_report")).total_normal_force == 1.5
        assert list(fields("get_ee_wrench", caller.call("get_ee_wrench")).force) == [1.0, 2.0, 3.0]
        wanted = request("get_observation", isJoint=True, isPose=True, objectPrims=[f"{NUMBERED}2"])
        seen = fields("get_observation", caller.call("get_observation", wanted))
        assert (len(seen.joint.body_arm), seen.pose[0].object_pose.position.x) == (46, 2.0)


def test_exit_is_answered_and_ends_the_process(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert caller.said("exit", exit=True) == "exit"
    assert sim.wait() == 0


def test_the_counts_of_a_dead_process_are_kept_and_its_world_is_not(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    question = part_joint(1)
    with Caller(sim.address) as caller:
        caller.init_robot()
        assert caller.ask(question).kind == "right"
        epoch = sim.state()["epoch"]
        sim.restart()
    with Caller(sim.address) as caller:
        assert caller.ask(question).kind == "UNKNOWN"
    state = sim.state()
    assert (state["life"], state["initialised"]) == (2, False)
    assert state["epoch"] != epoch
    assert (sim.arrivals("get_part_dof_joint", question.request), sim.executions("init_robot")) == (2, 1)
