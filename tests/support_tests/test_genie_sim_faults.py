"""Every fault of the stand-in is what it is said to be: a test that meets one has met it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from support.genie_sim.client import Caller, ask_at_once, camera, frame_state, mixed, object_pose, part_joint
from support.genie_sim.faults import Fault, FaultScript, parse
from support.genie_sim.mailbox import Data, Mailbox, Result
from support.genie_sim.process import TESTS
from support.proxy import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from support.genie_sim.process import GenieSim, StartGenieSim

SHORT = 0.25
"""The patience of a caller that is to run out of it; far above a call's 17 ms."""

STALL = Fault("hang", on="get_object_pose")
"""A stall that ends when the test says so."""


def accepts(sim: GenieSim) -> bool:
    """Whether the simulator's port takes a TCP connection."""
    try:
        with socket.create_connection((sim.settings.host, sim.settings.port), timeout=2.0):
            return True
    except OSError:
        return False


def initialised(sim: GenieSim) -> None:
    with Caller(sim.address) as caller:
        assert caller.init_robot() == "success"


def test_two_callers_at_once_get_each_others_answers(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    initialised(sim)
    counted = ask_at_once(sim.address, clients=2, calls=50, timeout=SHORT)
    assert counted.total() == 100
    assert counted["right"] < 50, counted
    assert sim.state()["max_in_flight"] == 2
    assert sum(sim.state()["counts"]["misdelivered"].values()) > 25


def test_ten_callers_at_once_fare_no_better(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    initialised(sim)
    counted = ask_at_once(sim.address, clients=10, calls=10, timeout=SHORT)
    assert counted.total() == 100
    assert counted["right"] < 50, counted


def test_an_abandoned_call_takes_the_answer_of_the_next(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(STALL)
    initialised(sim)
    with Caller(sim.address) as caller:
        assert caller.ask(object_pose(1), SHORT).kind == "DEADLINE_EXCEEDED"
        assert sim.until(lambda state: state["parked"] == 1)["standing"]
        again = caller.begin("get_object_pose", object_pose(1).request, 5 * SHORT)
        sim.until(lambda state: state["waiting"] == 2)
        sim.release()
        again.exception()
        outcomes = [caller.ask(part_joint(number), SHORT).kind for number in range(8)]
    assert outcomes.count("right") < 8
    assert sim.until(lambda state: state["parked"] == state["waiting"])["parked"] >= 1
    assert sum(sim.state()["counts"]["misdelivered"].values()) >= 1


def test_who_waits_for_the_end_of_a_stall_loses_nothing(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(parse("stall:0.45,on=get_object_pose,times=0,every=7"))
    initialised(sim)
    with Caller(sim.address) as caller:
        assert {caller.ask(mixed(number), 5.0).kind for number in range(40)} == {"right"}
    assert sim.state()["parked"] == 0


def test_a_stall_that_began_after_the_work_hands_its_answer_to_whoever_comes(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("hang", on="get_object_pose", when="after"))
    initialised(sim)
    with Caller(sim.address) as caller:
        caller.ask(object_pose(1), SHORT)
        late = caller.begin("get_part_dof_joint", part_joint(2).request, SHORT)
        sim.until(lambda state: state["waiting"] == 2)
        sim.release()
        late.exception()
    assert sim.executions("get_object_pose") == 1
    sim.until(lambda state: state["parked"] == 1)
    assert sim.executions("get_part_dof_joint") == 0


def test_a_hung_simulator_keeps_its_port_and_a_ready_channel(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(STALL)
    initialised(sim)
    with Caller(sim.address) as caller, Caller(sim.address) as other:
        assert caller.ask(object_pose(1), SHORT).kind == "DEADLINE_EXCEEDED"
        assert accepts(sim)
        assert other.ready(5.0)
        assert other.ask(object_pose(2), SHORT).kind == "DEADLINE_EXCEEDED"
    sim.until(lambda state: state["parked"] == 2)


def test_sigkill_before_the_work_leaves_nothing_done(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("kill", on="set_frame_state"))
    initialised(sim)
    question = frame_state(1)
    with Caller(sim.address) as caller:
        lost = caller.ask(question)
    assert lost.kind == "UNAVAILABLE"
    assert sim.wait() == -signal.SIGKILL
    assert (sim.arrivals(question.method), sim.executions(question.method, question.request)) == (1, 0)


def test_sigkill_after_the_work_leaves_it_done_and_the_caller_ignorant(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("kill", on="set_frame_state", when="after"))
    initialised(sim)
    with Caller(sim.address) as caller:
        assert caller.ask(frame_state(1)).kind == "UNAVAILABLE"
        assert sim.executions("set_frame_state", frame_state(1).request) == 1
        refused = caller.ask(frame_state(2))
    assert refused.kind == "UNAVAILABLE"
    assert sim.arrivals("set_frame_state") == 1


def test_a_frozen_process_accepts_but_gets_no_channel_ready(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    initialised(sim)
    with Caller(sim.address) as caller, Caller(sim.address) as fresh:
        assert caller.ask(object_pose(1)).kind == "right"
        sim.freeze()
        assert accepts(sim)
        assert not fresh.ready(SHORT)
        assert caller.ask(object_pose(2), SHORT).kind == "DEADLINE_EXCEEDED"
        sim.thaw()
        assert fresh.ask(object_pose(3)).kind in {"right", "wrong"}  # beside what was abandoned in the frozen process


def test_a_freeze_can_strike_at_a_command(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("freeze", on="get_object_pose"))
    initialised(sim)
    with Caller(sim.address) as caller:
        call = caller.begin("get_object_pose", object_pose(1).request)
        sim.wait_until_frozen()
        assert not call.done()
        sim.thaw()
        assert object_pose(1).right(call.result())


@pytest.mark.parametrize("how", ["fault", "old build"])
def test_a_zombie_has_an_open_port_and_a_ready_channel_and_answers_nothing(genie_sim: StartGenieSim, how: str) -> None:
    if how == "fault":
        sim = genie_sim(Fault("zombie", on="get_ee_pose"))
        initialised(sim)
    else:
        sim = genie_sim(build="old")  # without init_robot the command raises
    with Caller(sim.address) as caller, Caller(sim.address) as fresh:
        caller.begin("get_ee_pose", timeout=SHORT).exception()
        sim.until(lambda state: state["phase"] == "zombie")
        assert sim.alive
        assert accepts(sim)
        assert fresh.ready(5.0)
        assert caller.ask(object_pose(1), SHORT).kind == "DEADLINE_EXCEEDED"
        assert fresh.ask(object_pose(2), SHORT).kind == "DEADLINE_EXCEEDED"
        assert sim.alive


def test_an_exception_ends_the_old_build_that_exits(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(build="old-exits")
    with Caller(sim.address) as caller:
        assert caller.begin("get_ee_pose").exception().code().name == "UNAVAILABLE"
    assert sim.wait() == 1


def test_an_exception_is_an_error_inside_an_ok_on_v3_2_0(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("error", on="set_task_metric"), Fault("error", on="get_object_pose"))
    initialised(sim)
    with Caller(sim.address) as caller:
        assert caller.said("set_task_metric", metric="{}").startswith("ERROR: ")
        assert caller.said("set_task_metric", metric="{}") == "set task metric"
        assert caller.ask(object_pose(1)).kind == "UNKNOWN"
    assert sim.state()["counts"]["wrong_type"] == {"get_object_pose": 1}


def test_a_port_that_is_bound_late_is_refused_until_then(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(boot_s=0.4)
    with Caller(sim.address) as caller:
        refused = caller.ask(object_pose(1))
        assert refused.kind == "UNAVAILABLE"
        assert "failed to connect" in refused.details.lower()
        assert sim.state()["phase"] == "booting"
        sim.wait_until_listening()
    with Caller(sim.address) as caller:
        assert caller.init_robot() == "success"
    assert sim.arrivals("get_object_pose") == 0


def test_a_simulator_that_warms_up_has_an_open_port_and_answers_later(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(warm_up_s=0.3)
    assert sim.state()["phase"] == "port open"
    with Caller(sim.address) as caller:
        assert caller.said("set_task_metric", metric="{}") == "set task metric"
    assert sim.state()["phase"] == "running"


def test_a_duplicate_runs_one_request_twice(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("duplicate", on="set_frame_state"))
    question = frame_state(1)
    with Caller(sim.address) as caller:
        assert caller.ask(question).kind == "right"
    assert sim.state()["frame_status"] == [{"frame": 1}, {"frame": 1}]
    assert sim.executions(question.method, question.request) == 2
    assert sim.arrivals(question.method, question.request) == 1


def test_a_dropped_connection_loses_the_answer_and_not_the_process(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("drop", on="set_frame_state", when="after"))
    epoch = sim.state()["epoch"]
    with Caller(sim.address) as caller:
        assert caller.ask(frame_state(1)).kind == "UNAVAILABLE"
    assert sim.executions("set_frame_state") == 1
    assert sim.state()["epoch"] == epoch
    with Caller(sim.address) as caller:
        assert caller.ask(frame_state(2)).kind == "right"


def test_connections_can_be_dropped_between_calls(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        assert caller.ask(frame_state(1)).kind == "right"
        lost = threading.Event()
        caller.channel.subscribe(lambda state: lost.set() if state is not grpc.ChannelConnectivity.READY else None)
        sim.until(lambda state: state["in_flight"] == 0)
        lost.clear()
        sim.drop_connections()
        assert lost.wait(5.0)
        assert caller.ready(5.0)
        assert caller.ask(frame_state(2)).kind == "right"
    assert sim.state()["frame_status"] == [{"frame": 1}, {"frame": 2}]


def test_without_workers_every_call_waits_while_the_loop_still_steps(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    sim.exhaust()
    with Caller(sim.address) as caller:
        assert caller.ask(frame_state(1), SHORT).kind == "DEADLINE_EXCEEDED"
        ticks = sim.state()["ticks"]
        sim.until(lambda state: state["ticks"] > ticks)
        sim.release()
        assert caller.ask(frame_state(2)).kind == "right"
    assert sim.state()["frame_status"] == [{"frame": 2}]  # the first was dropped before a worker took it up


def test_ten_abandoned_calls_are_a_pool_without_workers(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    with Caller(sim.address) as caller:
        calls = [caller.begin("set_light", timeout=SHORT) for _ in range(10)]
        for call in calls:
            call.exception()
        sim.until(lambda state: state["parked"] == 10)
        assert caller.ask(frame_state(1), SHORT).kind == "DEADLINE_EXCEEDED"
    assert sim.arrivals("set_frame_state") == 0
    assert sim.state()["offered"] == 11


def test_an_oversize_picture_is_refused_by_the_server_itself(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("oversize"), patched=True)
    with Caller(sim.address) as caller:
        assert caller.ask(camera("wrist/64x48")).kind == "RESOURCE_EXHAUSTED"
        assert caller.ask(camera("wrist/64x48")).kind == "right"


def test_a_lost_exit_ends_the_process_without_an_answer(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("lost_exit"))
    with Caller(sim.address) as caller:
        assert caller.begin("exit").exception().code().name == "UNAVAILABLE"
    assert sim.wait() == 0
    assert sim.executions("exit") == 1


def test_an_init_that_fails_says_so_inside_an_ok(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("init_fails"))
    with Caller(sim.address) as caller:
        assert caller.init_robot().startswith("error: ")
        assert sim.state()["initialised"] is False
        assert caller.init_robot() == "success"


def test_a_read_right_after_a_reset_can_fail_once(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(Fault("reset_breaks_reads"))
    initialised(sim)
    with Caller(sim.address) as caller:
        assert caller.said("reset", reset=True) == "reset"
        assert caller.ask(part_joint(1)).kind == "UNKNOWN"
        assert caller.ask(part_joint(1)).kind == "right"


def test_a_second_server_on_the_port_shares_its_connections(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    other = sim.beside()
    for number in range(40):
        with Caller(sim.address) as caller:
            assert caller.ask(frame_state(number)).kind == "right"
    counts = [one.arrivals("set_frame_state") for one in (sim, other)]
    assert sum(counts) == 40
    assert min(counts) > 0


def test_faults_can_be_added_and_taken_back_while_it_runs(genie_sim: StartGenieSim) -> None:
    sim = genie_sim()
    sim.fault(parse("error,on=set_frame_state,times=0"))
    with Caller(sim.address) as caller:
        assert caller.ask(frame_state(1)).kind == "wrong"
        sim.clear_faults()
        assert caller.ask(frame_state(2)).kind == "right"


def test_a_restart_hook_ends_a_hang_and_an_empty_life_begins(genie_sim: StartGenieSim) -> None:
    sim = genie_sim(STALL)
    initialised(sim)
    with Caller(sim.address) as caller, sim.respawned():
        hung = caller.begin("get_object_pose", object_pose(1).request)
        sim.until(lambda state: state["standing"])
        first = sim.pid_file.read_text()
        subprocess.run(sim.kill_command, check=True)
        assert hung.exception().code().name == "UNAVAILABLE"
        state = sim.until(lambda state: state["life"] == 2)
        assert int(sim.pid_file.read_text()) == state["epoch"]["pid"] != int(first)
        assert not state["initialised"]


def test_the_command_line_serves_and_begins_a_new_life_after_each_end(tmp_path: Path) -> None:
    port = free_port()
    pid_file = tmp_path / "pid"
    words = ["--port", str(port), "--respawn", "0", "--fault", "kill,on=set_frame_state", "--pid-file", str(pid_file)]
    words += ["--ledger", str(tmp_path / "ledger")]
    with subprocess.Popen(
        [sys.executable, "-m", "support.genie_sim", *words], cwd=TESTS, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        try:
            assert announced(parent) == {"listening": port}
            first = pid_file.read_text()
            with Caller(f"127.0.0.1:{port}") as caller:
                assert caller.ask(frame_state(1)).kind == "UNAVAILABLE"
            assert announced(parent) == {"listening": port}
            assert pid_file.read_text() != first
            with Caller(f"127.0.0.1:{port}") as caller:
                assert caller.ask(frame_state(1)).kind == "right"
        finally:
            parent.terminate()
    assert parent.returncode == -signal.SIGKILL % 256


def announced(parent: subprocess.Popen[bytes]) -> Any:
    """The second line of a life: the first tells the control channel's port."""
    assert parent.stdout is not None
    assert "control" in json.loads(parent.stdout.readline())
    return json.loads(parent.stdout.readline())


def test_a_greedy_loop_leaves_a_second_result_to_the_next_caller() -> None:
    mailbox = Mailbox(greedy=True)
    mailbox.answer(Result("of the one before", arrival=1))
    assert mailbox.ask(5, Data(2, {})).value == "of the one before"


def test_a_fault_is_read_from_the_words_that_it_prints() -> None:
    fault = Fault("stall", seconds=0.45, on="get_object_pose", skip=3, times=20, every=5, when="after")
    assert parse(str(fault)) == fault
    assert parse("kill") == Fault("kill")


@pytest.mark.parametrize(
    "words", ["explode", "stall:soon", "stall,at=1", "kill,when=later", "stall:-1", "stall,every=0"]
)
def test_words_that_are_no_fault_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(words)


def test_a_fault_acts_on_every_so_manyth_matching_command_so_many_times() -> None:
    script = FaultScript([Fault("stall", on="get_*", skip=1, times=2, every=3)])
    struck = [script.take(method) is not None for method in ["get_a", "set_a", *["get_b"] * 8]]
    assert struck == [False, False, True, False, False, True, False, False, False, False]
    assert script.left == []


def test_a_fault_without_an_end_acts_for_ever() -> None:
    script = FaultScript([Fault("error", times=0)])
    assert all(script.take("get_a") for _ in range(100))


def test_of_two_faults_the_first_that_acts_wins_and_the_other_waits() -> None:
    script = FaultScript([Fault("stall", on="get_a"), Fault("kill", on="get_a")])
    assert [fault.kind for fault in (script.take("get_a"), script.take("get_a")) if fault] == ["stall", "kill"]
