from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from blueprint_clients import errors as reasons
from blueprint_clients.errors import GenieSimAPIError
from blueprint_clients.external_services import ServiceClientConfig, create_genie_sim_client
from blueprint_clients.external_services import genie_sim as module
from blueprint_clients.external_services.genie_sim import GenieSimClient
from blueprint_clients.genie_sim import errors
from support.rpc_sidecar import Reply, RpcSidecar, refused, words_as_pairs
from support.sidecar import ADDRESSES, Said, ScriptedSidecar

if TYPE_CHECKING:
    from blueprint_clients.external_services.calls import Account

SERVED = {**ADDRESSES, "grpc": "127.0.0.1:50052"}
JOINTS = [{"name": "a", "position": 0.5}]


def in_epoch(epoch: int, **fields: Any) -> Reply:
    return Reply(fields, trailing=words_as_pairs({"epoch": str(epoch), "source": "upstream", "attempts": "1"}))


def test_the_target_is_the_sidecars(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, SERVED))
    assert create_genie_sim_client().target == "127.0.0.1:50052"


def test_a_sidecar_without_grpc_says_what_to_do(scripted: ScriptedSidecar) -> None:
    with pytest.raises(GenieSimAPIError, match="connect to the simulator itself"):
        _ = create_genie_sim_client().target
    with pytest.raises(GenieSimAPIError, match="connect to the simulator itself"):
        create_genie_sim_client().reset()


def test_without_a_sidecar_the_target_is_the_jobs_own(job: pytest.MonkeyPatch) -> None:
    assert create_genie_sim_client().target == "localhost:50051"
    job.setenv("GENIESIM_HOST", "sim")
    assert create_genie_sim_client().target == "sim:50051"


@pytest.mark.parametrize(("host", "permits"), [("localhost", 0), ("sim", 1)])
def test_a_job_that_is_pointed_at_the_sidecar_goes_through(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch, host: str, permits: int
) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, SERVED))
    job.setenv("GENIESIM_HOST", host)
    job.setenv("GENIESIM_PORT", "50052")
    create_genie_sim_client().call(lambda: 1)
    assert len(scripted.of("POST", "/v1/guard/geniesim")) == permits


def test_a_job_that_was_given_the_sidecars_address_goes_through(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, SERVED))
    client = create_genie_sim_client()
    _ = client.target
    client.call(lambda: 1)
    assert scripted.guard_traffic() == []


def test_a_method_goes_through_the_sidecar_and_gives_the_answer(guarded_sim: RpcSidecar) -> None:
    guarded_sim.script("get_joint_position", in_epoch(1, states=JOINTS))
    client = create_genie_sim_client()
    assert [state.name for state in client.get_joint_position(serial_no="x").states] == ["a"]
    (asked,) = guarded_sim.asked
    assert asked.request == b"\n\x01x"
    assert client.epoch == 1
    stats = client.get_stats()
    assert (stats["through_count"], stats["success_count"], stats["attempt_count"]) == (1, 1, 1)


def test_every_call_has_a_deadline(guarded_sim: RpcSidecar) -> None:
    client = create_genie_sim_client()
    client.get_object_pose()
    client.get_object_pose(timeout=7.0)
    usual, given = [one.left for one in guarded_sim.asked]
    assert usual is not None
    assert given is not None
    assert 80 < usual <= 91
    assert 5 < given <= 8


@pytest.mark.parametrize("timeout", [0, -1, float("inf")])
def test_a_time_in_which_nothing_can_happen_is_refused(guarded_sim: RpcSidecar, timeout: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        create_genie_sim_client().reset(timeout=timeout)
    assert guarded_sim.asked == []


@pytest.mark.parametrize(
    ("reason", "code", "kind", "also"),
    [
        ("epoch_changed", "FAILED_PRECONDITION", errors.EpochChanged, reasons.EpochChanged),
        ("not_initialised", "FAILED_PRECONDITION", errors.NotInitialised, reasons.NotInitialised),
        ("hung", "UNAVAILABLE", errors.SimulatorHung, reasons.Hung),
        ("maybe_executed", "UNKNOWN", errors.MaybeExecuted, reasons.MaybeExecuted),
        ("overloaded", "UNAVAILABLE", errors.Overloaded, reasons.Overloaded),
        ("breaker_open", "UNAVAILABLE", errors.BreakerOpen, reasons.CircuitBreakerOpen),
        ("deadline_exceeded", "DEADLINE_EXCEEDED", errors.CallTimedOut, TimeoutError),
    ],
)
def test_a_refusal_is_an_error_of_its_own(
    guarded_sim: RpcSidecar, reason: str, code: str, kind: type[Exception], also: type[Exception]
) -> None:
    guarded_sim.script("reset", refused(reason, code, "the why", retry_after="3", epoch="2"))
    with pytest.raises(kind, match="reset: blueprint-proxy: the why") as caught:
        create_genie_sim_client().reset(reset=True)
    error = caught.value
    assert isinstance(error, (also,))
    assert isinstance(error, errors.GenieSimCallError)
    assert isinstance(error, GenieSimAPIError)
    assert (error.epoch, error.retry_after, error.code) == (2, 3.0, code)
    assert isinstance(error.__cause__, grpc.RpcError)


def test_an_error_inside_of_an_ok_is_raised_with_its_answer(guarded_sim: RpcSidecar) -> None:
    told = words_as_pairs({"app_error": "ERROR: no robot", "source": "upstream", "attempts": "1"})
    guarded_sim.script("reset", Reply({"msg": "ERROR: no robot"}, trailing=told))
    client = create_genie_sim_client()
    with pytest.raises(errors.AppError, match="no robot") as caught:
        client.reset()
    assert caught.value.answer is not None
    assert client.get_stats()["error_count"] == 1


def test_it_is_raised_without_a_sidecar_too(bare_sim: RpcSidecar) -> None:
    bare_sim.script("linear_move", Reply({"errmsg": "ERROR: no plan"}))
    client = create_genie_sim_client()
    with pytest.raises(errors.AppError, match="no plan"):
        client.linear_move()
    assert (client.get_stats()["unguarded_count"], client.get_stats()["attempt_count"]) == (1, 1)
    assert client.epoch is None


def test_what_a_sidecar_refuses_before_there_is_a_call_is_not_counted_as_unguarded(guarded_sim: RpcSidecar) -> None:
    client = create_genie_sim_client("other")
    with pytest.raises(errors.NoSuchUpstream):
        client.reset()
    assert client.get_stats()["through_count"] == client.get_stats()["refused_count"] == 1


def test_the_breaker_is_known_from_refusals(guarded_sim: RpcSidecar) -> None:
    guarded_sim.script("reset", refused("breaker_open", "UNAVAILABLE", retry_after="9"))
    client = create_genie_sim_client()
    with pytest.raises(errors.BreakerOpen):
        client.reset()
    stats = client.get_stats()
    assert stats["circuit_breaker"] == {"state": "open", "retry_after_s": 9.0}
    assert stats["refused_count"] == 1


def test_a_new_epoch_is_told_once_in_the_thread_whose_call_saw_it(guarded_sim: RpcSidecar) -> None:
    told: list[tuple[int, str]] = []
    client = create_genie_sim_client(on_new_epoch=lambda epoch: told.append((epoch, threading.current_thread().name)))
    guarded_sim.script(
        "get_ee_pose", in_epoch(1), refused("not_initialised", "FAILED_PRECONDITION", epoch="2"), in_epoch(2)
    )
    client.get_ee_pose()
    with pytest.raises(errors.NotInitialised):
        client.get_ee_pose()
    client.get_ee_pose()
    assert told == [(2, threading.current_thread().name)]


def test_whoever_is_told_may_initialise_the_simulator_again(guarded_sim: RpcSidecar) -> None:
    client = create_genie_sim_client()
    client.on_new_epoch = lambda _: client.init_robot(robot_cfg_file="robot.json")
    guarded_sim.script("reset", in_epoch(1), refused("epoch_changed", "FAILED_PRECONDITION", epoch="2"))
    guarded_sim.script("init_robot", in_epoch(2, msg="success"))
    client.reset()
    with pytest.raises(errors.EpochChanged):
        client.reset()
    assert [one.method for one in guarded_sim.asked] == ["reset", "reset", "init_robot"]


def test_a_job_that_initialises_it_by_itself_is_not_told(guarded_sim: RpcSidecar) -> None:
    told: list[int] = []
    client = create_genie_sim_client(on_new_epoch=told.append)
    guarded_sim.script("init_robot", in_epoch(1, msg="success"), in_epoch(2, msg="success"))
    client.init_robot()
    client.init_robot()
    assert (told, client.epoch) == ([], 2)


def test_waiting_until_it_is_ready_asks_again_what_changes_nothing(
    guarded_sim: RpcSidecar, job: pytest.MonkeyPatch
) -> None:
    job.setattr(module, "LOOK_AGAIN_S", 0.001)
    guarded_sim.script(
        "set_task_metric",
        refused("upstream_unreachable", "UNAVAILABLE"),
        refused("hung", "UNAVAILABLE", retry_after="0"),
        Reply({"msg": "set task metric"}),
    )
    create_genie_sim_client().wait_until_ready(10.0)
    assert [one.request for one in guarded_sim.asked] == [b"\n\x02{}"] * 3


def test_one_that_is_never_ready_says_why(guarded_sim: RpcSidecar, job: pytest.MonkeyPatch) -> None:
    job.setattr(module, "LOOK_AGAIN_S", 0.001)
    guarded_sim.script("set_task_metric", refused("hung", "UNAVAILABLE", "it stands still", epoch="3"))
    with pytest.raises(errors.CallTimedOut, match=r"not ready within 0\.2 s: .*it stands still") as caught:
        create_genie_sim_client().wait_until_ready(0.2)
    assert isinstance(caught.value.__cause__, errors.SimulatorHung)
    assert caught.value.epoch == 3


def test_what_waiting_does_not_mend_is_raised_at_once(guarded_sim: RpcSidecar) -> None:
    guarded_sim.script("set_task_metric", refused("unauthenticated", "UNAUTHENTICATED"))
    with pytest.raises(errors.Unauthenticated):
        create_genie_sim_client().wait_until_ready(10.0)
    assert len(guarded_sim.asked) == 1


def test_the_endpoint_is_checked_where_calls_go(guarded_sim: RpcSidecar) -> None:
    create_genie_sim_client().check_endpoint()
    guarded_sim.stop()
    with pytest.raises(GenieSimAPIError, match=f"Cannot connect to {guarded_sim.address}"):
        create_genie_sim_client().check_endpoint()


def test_a_method_inside_of_a_guarded_function_gives_the_permit_back_before_it_goes_through(
    guarded_sim: RpcSidecar, scripted: ScriptedSidecar
) -> None:
    client = create_genie_sim_client()
    assert client.call(lambda: client.reset(reset=True).msg) == ""
    asked, settled = scripted.guard_traffic()
    assert asked["operation"] == "call"
    assert settled["outcome"] == "rejected"
    assert settled["sent"] is False
    client.call(client.reset)
    assert len(scripted.guard_traffic()) == 2, "the client has learned that its functions go through"
    assert len(guarded_sim.asked) == 2


def test_a_function_s_time_is_its_methods_too(guarded_sim: RpcSidecar) -> None:
    client = create_genie_sim_client()
    client.call(client.reset, timeout=5.0)
    (asked,) = guarded_sim.asked
    assert asked.left is not None
    assert asked.left <= 5.1


def test_a_failed_method_inside_of_a_function_is_raised_as_it_is(guarded_sim: RpcSidecar) -> None:
    guarded_sim.script("reset", refused("hung", "UNAVAILABLE"))
    client = create_genie_sim_client()
    with pytest.raises(errors.SimulatorHung) as caught:
        client.call(client.reset)
    account: Account = caught.value.blueprint  # type: ignore[attr-defined]  # call leaves it there
    assert account.upstream == "geniesim"
    assert len(guarded_sim.asked) == 1


def test_what_the_sidecar_refuses_to_a_jobs_own_stub_is_an_error_of_its_own_too(
    guarded_sim: RpcSidecar, scripted: ScriptedSidecar
) -> None:
    guarded_sim.script("reset", refused("hung", "UNAVAILABLE", "it stands still", epoch="2"))
    client = create_genie_sim_client()
    with grpc.insecure_channel(client.target) as channel:
        stub: Any = channel.unary_unary("/aimdk.protocol.SimObservationService/reset")
        with pytest.raises(errors.SimulatorHung, match="it stands still") as caught:
            client.call(lambda: stub(b"", timeout=10.0))
    assert caught.value.epoch == 2
    assert scripted.guard_traffic() == []


def test_a_stub_whose_error_has_the_sidecars_words_goes_through_from_then_on(
    guarded_sim: RpcSidecar, scripted: ScriptedSidecar
) -> None:
    told = words_as_pairs({"source": "upstream", "attempts": "1"})
    guarded_sim.script("reset", Reply(code="UNKNOWN", details="its own", trailing=told))
    client = create_genie_sim_client()
    with grpc.insecure_channel(guarded_sim.address) as channel:
        stub: Any = channel.unary_unary("/aimdk.protocol.SimObservationService/reset")
        for _ in range(2):
            with pytest.raises(grpc.RpcError, match="its own"):
                client.call(lambda: stub(b"", timeout=10.0))
    assert len(scripted.guard_traffic()) == 2, "one permit, of the first"


def test_threads_share_a_client(guarded_sim: RpcSidecar) -> None:
    client = create_genie_sim_client()
    threads = [threading.Thread(target=lambda: [client.reset() for _ in range(10)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get_stats()["success_count"] == len(guarded_sim.asked) == 50


def test_a_pace_holds_for_methods_too(guarded_sim: RpcSidecar, job: pytest.MonkeyPatch) -> None:
    client = GenieSimClient(ServiceClientConfig("genie_sim_api", rate_limit_enabled=True))
    waits: list[bool] = []
    job.setattr(client._pace, "acquire", lambda: waits.append(True))
    client.reset()
    assert waits == [True]


def test_a_call_that_is_interrupted_is_counted(guarded_sim: RpcSidecar, job: pytest.MonkeyPatch) -> None:
    client = create_genie_sim_client()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    job.setattr(module, "answer_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.reset()
    assert client.get_stats()["error_count"] == 1
