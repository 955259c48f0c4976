"""The typed client straight against the stand-in for Genie Sim, without a sidecar."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from blueprint_clients import notices
from blueprint_clients.external_services import create_genie_sim_client
from blueprint_clients.genie_sim import channels, errors, lane
from support.forks import code_of
from support.genie_sim.faults import Fault
from support.genie_sim.process import GenieSim, simulators
from support.genie_sim.simulation import NUMBERED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blueprint_clients.external_services.genie_sim import GenieSimClient
    from support.genie_sim.process import StartGenieSim

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def start_sim(tmp_path: Path) -> Iterator[StartGenieSim]:
    with simulators(tmp_path) as start:
        yield start


@pytest.fixture
def sim(start_sim: StartGenieSim, monkeypatch: pytest.MonkeyPatch) -> Iterator[GenieSim]:
    """A simulator that this process's environment names; no sidecar."""
    one = start_sim()
    host, _, port = one.address.partition(":")
    monkeypatch.setenv("BLUEPRINT_PROXY", "off")
    monkeypatch.setenv("GENIESIM_HOST", host)
    monkeypatch.setenv("GENIESIM_PORT", port)
    notices.forget()
    yield one
    for line in channels._lines.values():
        line.close()
    channels._lines.clear()
    lane._lanes.clear()


@pytest.fixture
def client(sim: GenieSim) -> GenieSimClient:
    """One that has initialised it."""
    one = create_genie_sim_client()
    one.wait_until_ready(20.0)
    assert one.init_robot(robot_cfg_file="robot.json").msg == "success"
    return one


def x_of(client: GenieSimClient, number: int, timeout: float | None = None) -> float:
    found = client.get_object_pose(prim_path=f"{NUMBERED}{number}", timeout=timeout)
    return found.object_pose.position.x


def test_threads_take_turns_and_get_their_own_answers(sim: GenieSim, client: GenieSimClient) -> None:
    answers: dict[int, float] = {}

    def ask(first: int) -> None:
        one = create_genie_sim_client()
        for number in range(first, first + 20):
            answers[number] = x_of(one, number)

    threads = [threading.Thread(target=ask, args=(20 * index,)) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: float(number) for number in range(100)}
    state = sim.state()
    assert (state["max_in_flight"], state["parked"]) == (1, 0)


def test_a_caller_that_runs_out_of_time_leaves_nothing_behind_that_takes_the_next_answer(
    sim: GenieSim, client: GenieSimClient
) -> None:
    sim.fault(Fault("hang", on="get_object_pose"))
    with pytest.raises(errors.CallTimedOut):
        x_of(client, 1, timeout=0.3)
    with pytest.raises(errors.Overloaded, match="held by get_object_pose"):
        x_of(client, 2, timeout=0.1)
    assert sim.state()["parked"] == 0
    sim.release()
    assert [x_of(client, number) for number in range(20)] == [float(number) for number in range(20)]
    assert sim.state()["max_in_flight"] == 1


def test_a_simulator_that_dies_in_a_call_may_have_done_it_and_the_next_call_was_not_sent(
    sim: GenieSim, client: GenieSimClient
) -> None:
    sim.fault(Fault("kill", on="set_frame_state"))
    with pytest.raises(errors.MaybeExecuted):
        client.set_frame_state(frame_state="{}")
    with pytest.raises(errors.SimulatorUnreachable) as caught:
        client.set_frame_state(frame_state="{}")
    assert caught.value.not_sent
    with pytest.raises(errors.SimulatorUnreachable, match="Cannot connect to"):
        client.check_endpoint()
    with pytest.raises(errors.CallTimedOut, match="not ready"):
        client.wait_until_ready(0.3)
    sim.restart()
    client.wait_until_ready(20.0)
    with pytest.raises(errors.CallFailed) as failed:
        client.get_joint_position()
    assert failed.value.code == "UNKNOWN"
    assert sim.arrivals("set_frame_state") == 1


def test_an_error_inside_of_an_ok_is_raised(client: GenieSimClient) -> None:
    with pytest.raises(errors.AppError, match="store_current_state: ERROR: "):
        client.store_current_state(playback_id="x")


def test_waiting_begins_before_the_port_is_open(start_sim: StartGenieSim, monkeypatch: pytest.MonkeyPatch) -> None:
    late = start_sim(boot_s=0.5, warm_up_s=0.5)
    host, _, port = late.address.partition(":")
    monkeypatch.setenv("BLUEPRINT_PROXY", "off")
    monkeypatch.setenv("GENIESIM_HOST", host)
    monkeypatch.setenv("GENIESIM_PORT", port)
    create_genie_sim_client().wait_until_ready(20.0)
    assert late.state()["phase"] == "running"


def test_forked_children_call_for_themselves_and_the_parent_goes_on(sim: GenieSim, client: GenieSimClient) -> None:
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if x_of(client, number) == number else 1)
        assert code_of(pid) == 0
        assert x_of(client, number) == number


def test_a_process_ends_while_a_call_of_its_is_still_running(sim: GenieSim, client: GenieSimClient) -> None:
    sim.fault(Fault("hang", on="get_ee_pose"))
    program = (
        "from blueprint_clients.external_services import create_genie_sim_client\n"
        "from blueprint_clients.genie_sim.errors import CallTimedOut\n"
        "try:\n    create_genie_sim_client().get_ee_pose(timeout=0.3)\n"
        "except CallTimedOut:\n    print('late')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "late\n"), done.stderr
