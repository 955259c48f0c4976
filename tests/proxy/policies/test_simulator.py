import pytest

from blueprint_proxy.errors import Reason
from blueprint_proxy.policies.simulator import Life, Phase, Simulator


def simulator(life=None):
    return Simulator(0.0, life, boot=900.0, initialise=600.0)


def ready(identity="pid 7 started 100"):
    return simulator(Life(identity, 1, initialised=True))


def read(of):
    denied = of.admit(initialises=False, heartbeat=False)
    return None if denied is None else denied.reason


def test_a_simulator_that_was_there_before_is_unverified_and_calls_pass():
    found = simulator()
    found.identified(0.0, "pid 7 started 100")
    found.answered(1.0)
    assert found.phase is Phase.UNVERIFIED
    assert read(found) is None


def test_the_same_process_after_a_reconnect_is_the_same_epoch_and_asks_nothing_of_the_job():
    same = ready()
    same.lost(1.0)
    assert not same.identified(2.0, "pid 7 started 100")
    assert (same.epoch, same.phase, read(same)) == (1, Phase.READY, None)


def test_a_restart_of_the_sidecar_keeps_the_epoch_and_the_robot():
    again = simulator(ready().life)
    again.identified(0.0, "pid 7 started 100")
    assert (again.epoch, again.phase) == (1, Phase.READY)


def test_another_process_is_a_new_epoch_and_empty():
    other = ready()
    assert other.identified(1.0, "pid 9 started 200")
    other.answered(2.0)
    assert (other.epoch, other.phase, read(other)) == (2, Phase.EMPTY, Reason.NOT_INITIALISED)


def test_the_refusal_of_an_empty_simulator_names_the_epoch():
    other = ready()
    other.identified(1.0, "pid 9 started 200")
    assert "epoch 2" in other.admit(initialises=False, heartbeat=False).message


@pytest.mark.parametrize("kind", ["initialises", "heartbeat"])
def test_an_empty_simulator_takes_init_robot_and_the_heartbeat(kind):
    other = ready()
    other.identified(1.0, "pid 9 started 200")
    assert other.admit(**{"initialises": False, "heartbeat": False, kind: True}) is None


def test_only_a_successful_init_robot_makes_it_ready():
    other = ready()
    other.identified(1.0, "pid 9 started 200")
    other.initialising(2.0)
    assert other.phase is Phase.INITIALISING
    other.initialised(3.0, success=False)
    other.answered(3.0)
    assert read(other) is Reason.NOT_INITIALISED
    other.initialising(4.0)
    other.initialised(5.0, success=True)
    assert (other.phase, read(other)) == (Phase.READY, None)


def test_without_an_identity_a_broken_connection_leaves_it_unverified():
    unknown = simulator(Life(None, 1, initialised=True))
    unknown.lost(1.0)
    unknown.answered(2.0)
    assert unknown.phase is Phase.UNVERIFIED


def test_what_may_have_run_is_sent_again_only_in_the_same_epoch():
    of = ready()
    assert of.may_repeat(1)
    of.identified(1.0, "pid 9 started 200")
    assert not of.may_repeat(1)


def test_nothing_that_may_have_run_is_sent_again_while_unverified_until_init_robot_is_seen():
    unknown = simulator()
    assert not unknown.may_repeat(1)
    unknown.initialised(1.0, success=True)
    assert unknown.may_repeat(1)
    unknown.lost(2.0)
    assert not unknown.may_repeat(1)


def test_a_hang_is_refused_with_the_call_that_hangs():
    of = ready()
    of.hangs(60.0, "get_joint_position, in flight for 60 s")
    denied = of.admit(initialises=True, heartbeat=True)
    assert denied.reason is Reason.HUNG
    assert "get_joint_position, in flight for 60 s" in denied.message


def test_a_hang_that_ends_by_itself_is_over():
    of = ready()
    of.hangs(60.0, "reset")
    of.answered(270.0)
    assert (of.phase, read(of)) == (Phase.READY, None)


def test_a_hung_simulator_stays_hung_until_its_restart_shows_a_new_process():
    of = ready()
    of.hangs(60.0, "reset")
    of.restarting(61.0)
    assert of.phase is Phase.RESTARTING
    of.restarted(70.0)
    assert of.phase is Phase.HUNG
    of.identified(71.0, "pid 9 started 200")
    assert (of.epoch, of.phase) == (2, Phase.BOOTING)


def test_a_restart_without_identities_is_a_new_life():
    of = simulator(Life(None, 3, initialised=True))
    of.hangs(60.0, "reset")
    of.restarting(61.0)
    of.restarted(70.0)
    assert (of.epoch, read(of)) == (4, Reason.NOT_INITIALISED)
    assert not of.identified(71.0, "pid 9 started 200")
    assert of.epoch == 4


def test_a_process_that_is_gone_does_not_hang():
    of = ready()
    of.hangs(60.0, "reset")
    of.unreachable(61.0)
    assert of.phase is Phase.DOWN


def test_an_operator_can_say_that_it_is_a_new_one():
    of = ready()
    of.renewed(1.0)
    assert (of.epoch, read(of)) == (2, Reason.NOT_INITIALISED)


def test_a_slow_boot_is_a_start_until_its_budget_is_spent():
    of = simulator()
    of.unreachable(10.0)
    assert of.starting(910.0)
    assert not of.overdue(910.0)
    assert of.overdue(911.0)
    assert not of.starting(911.0)


def test_the_port_opening_begins_a_budget_of_its_own():
    of = simulator()
    of.unreachable(10.0)
    of.reachable(800.0)
    assert of.phase is Phase.BOOTING
    assert of.starting(1600.0)


def test_a_ready_simulator_is_never_starting():
    assert not ready().starting(0.0)
