from __future__ import annotations

import os

from blueprint_clients.genie_sim.lane import Lane, lane_to
from support.forks import code_of


def test_one_at_a_time() -> None:
    lane = Lane()
    assert lane.take("reset", 1.0)
    assert not lane.take("exit", 0.0)
    lane.give_back()
    assert lane.take("exit", 0.0)


def test_who_holds_it_is_known() -> None:
    lane = Lane()
    assert "ended" in lane.held_by()
    lane.take("reset", 1.0)
    assert lane.held_by().startswith("reset, which has held it for 0.")


def test_all_clients_of_a_simulator_share_one() -> None:
    assert lane_to("a:1") is lane_to("a:1")
    assert lane_to("a:1") is not lane_to("b:1")


def test_a_forked_child_does_not_wait_for_its_parents_calls() -> None:
    lane = Lane()
    lane.take("reset", 1.0)
    pid = os.fork()
    if pid == 0:
        os._exit(int(lane.take("exit", 0.0)))
    assert code_of(pid) == 1
