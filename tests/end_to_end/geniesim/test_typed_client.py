"""The clients' typed calls through the proxy: what a job gets of epochs, hangs, errors and restarts."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_clients import notices, sidecar
from blueprint_clients.external_services import create_genie_sim_client
from blueprint_clients.genie_sim import channels, errors, lane
from support.forks import code_of
from support.genie_sim.faults import Fault
from support.genie_sim.simulation import NUMBERED
from support.proxy import RunningProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blueprint_clients.external_services.genie_sim import GenieSimClient
    from end_to_end.geniesim.conftest import Scene

pytestmark = pytest.mark.end_to_end

SOON = {"operations": {"get_object_pose": {"breaker": {"age": "700ms"}}}}
IDENTIFIED = {"keys": lambda sim: {"identity": {"pid_file": str(sim.pid_file)}}}


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("BLUEPRINT_PROXY_TOKEN", "GENIESIM_HOST", "GENIESIM_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BLUEPRINT_RUN", "scene~job")
    notices.forget()
    yield monkeypatch
    for line in channels._lines.values():
        line.close()
    channels._lines.clear()
    lane._lanes.clear()
    for known in sidecar._known.values():
        known.close()
    sidecar._known.clear()


@pytest.fixture
def client(job: pytest.MonkeyPatch) -> Callable[..., GenieSimClient]:
    """A client of a scene's proxy."""

    def make(it: Scene, **settings: Any) -> GenieSimClient:
        job.setenv("BLUEPRINT_PROXY", f"http://{it.proxy.config['listen']['admin']}")
        return create_genie_sim_client(**settings)

    return make


def x_of(one: GenieSimClient, number: int, timeout: float | None = None) -> float:
    return one.get_object_pose(prim_path=f"{NUMBERED}{number}", timeout=timeout).object_pose.position.x


def test_threads_get_their_own_answers_through_the_proxy(scene, client) -> None:
    it = scene(init=False)
    one = client(it)
    one.wait_until_ready(20.0)
    one.check_endpoint()
    assert one.init_robot(robot_cfg_file="robot.json").msg == "success"
    answers: dict[int, float] = {}

    def ask(first: int) -> None:
        for number in range(first, first + 20):
            answers[number] = x_of(one, number)

    threads = [threading.Thread(target=ask, args=(20 * index,)) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: float(number) for number in range(100)}
    assert it.sim.state()["max_in_flight"] == 1
    assert one.get_stats()["through_count"] == one.get_stats()["success_count"] == 102
    assert one.epoch == 1


def test_an_empty_simulator_says_that_it_is_not_initialised(scene, client) -> None:
    it = scene(**IDENTIFIED)
    it.sim.restart()
    it.until(lambda seen: seen["epoch"] == 2)
    one = client(it)
    one.wait_until_ready(20.0)
    with pytest.raises(errors.NotInitialised, match="init_robot") as caught:
        one.get_joint_position()
    assert caught.value.not_sent
    assert caught.value.epoch == 2


def test_an_error_inside_of_an_ok_is_raised_with_or_without_the_option(scene, client) -> None:
    with pytest.raises(errors.AppError, match="store_current_state: ERROR: ") as caught:
        client(scene()).store_current_state(playback_id="x")
    assert caught.value.answer is not None
    assert caught.value.epoch == 1


def test_a_restart_is_told_once_and_the_callback_initialises_again(scene, client) -> None:
    it = scene(**IDENTIFIED)
    told: list[int] = []
    one = client(it)

    def again(epoch: int) -> None:
        told.append(epoch)
        one.wait_until_ready(20.0)
        assert one.init_robot(robot_cfg_file="robot.json").msg == "success"

    one.on_new_epoch = again
    assert x_of(one, 1) == 1.0
    it.sim.restart()
    it.until(lambda seen: seen["epoch"] == 2)
    with pytest.raises((errors.NotInitialised, errors.EpochChanged)) as caught:
        x_of(one, 1)
    assert caught.value.epoch == 2
    assert x_of(one, 2) == 2.0
    assert (told, one.epoch) == ([2], 2)


def test_a_kill_in_a_call_changes_the_epoch_of_a_read_and_leaves_an_unsafe_call_open(scene, client) -> None:
    for method, kind in (("get_object_pose", errors.EpochChanged), ("set_frame_state", errors.MaybeExecuted)):
        it = scene(Fault("kill", on=method), **IDENTIFIED)
        one = client(it)
        assert len(one.get_joint_position().states) == 46
        fields = {"prim_path": "/World/a"} if method == "get_object_pose" else {"frame_state": "{}"}
        with it.sim.respawned(), pytest.raises(kind):
            getattr(one, method)(**fields)
        assert it.sim.executions(method) <= 1


def test_a_hang_is_named_and_nothing_more_is_sent(scene, client) -> None:
    it = scene(Fault("hang", on="get_object_pose"), keys=SOON)
    one = client(it)
    with pytest.raises(errors.SimulatorHung, match="get_object_pose, in flight for 0"):
        x_of(one, 1)
    with pytest.raises(errors.SimulatorHung) as caught:
        one.get_joint_position()
    assert caught.value.not_sent
    assert it.sim.arrivals("get_joint_position") == 0
    it.sim.release()
    one.wait_until_ready(20.0)
    assert x_of(one, 3) == 3.0


def test_a_repeat_after_the_jobs_own_timeout_gets_the_answer_of_the_call_in_flight(scene, client) -> None:
    it = scene(Fault("stall", 0.6, on="set_frame_state"))
    one = client(it)
    with pytest.raises(errors.CallTimedOut):
        one.set_frame_state(frame_state='{"frame": 7}', timeout=0.2)
    assert one.set_frame_state(frame_state='{"frame": 7}').msg
    assert it.sim.executions("set_frame_state") == 1


def test_a_light_without_lights_is_refused_before_it_leaves(scene, client) -> None:
    one = client(scene())
    with pytest.raises(errors.BadRequest):
        one.set_light(lights=[])


def started_again(it: Scene) -> None:
    again = RunningProxy(it.proxy.directory, it.proxy.config)
    it.proxy.process, it.proxy._read_so_far = again.process, 0


def test_a_call_waits_for_a_sidecar_that_restarts_and_none_goes_around_it(scene, client) -> None:
    it = scene(**IDENTIFIED)
    one = client(it)
    assert x_of(one, 1) == 1.0
    it.proxy.kill()
    with pytest.raises(errors.SidecarGone) as caught:
        x_of(one, 2, timeout=0.5)
    assert caught.value.not_sent
    with pytest.raises(errors.SidecarGone):
        x_of(one, 2, timeout=0.5)
    started_again(it)
    one.wait_until_ready(20.0)
    assert x_of(one, 3) == 3.0
    it.proxy.kill()
    answers: list[float] = []
    waiting = threading.Thread(target=lambda: answers.append(x_of(one, 4)))
    waiting.start()
    started_again(it)
    waiting.join()
    assert answers == [4.0]
    assert it.sim.arrivals("get_object_pose") == 3
    assert one.get_stats()["unguarded_count"] == 0
    assert one.epoch == 1


def test_typed_calls_inside_of_call_do_not_wait_for_their_own_permit(scene, client) -> None:
    one = client(scene())
    assert one.call(lambda: x_of(one, 5), timeout=10.0) == 5.0
    assert one.call(lambda: x_of(one, 6), timeout=10.0) == 6.0


def test_forked_children_go_through_by_themselves(scene, client) -> None:
    it = scene()
    one = client(it)
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if x_of(one, number) == number else 1)
        assert code_of(pid) == 0
        assert x_of(one, number) == number
