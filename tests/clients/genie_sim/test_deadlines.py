from __future__ import annotations

from blueprint_clients.genie_sim.deadlines import HANG_AGE_S, LEEWAY_S, usual_wait
from blueprint_clients.genie_sim.messages import load


def test_every_method_has_a_wait() -> None:
    assert set(HANG_AGE_S) == set(load().methods)


def test_the_wait_outlasts_the_age_at_which_the_sidecar_declares_a_hang() -> None:
    assert usual_wait("get_object_pose") == 60 + LEEWAY_S
    assert usual_wait("init_robot") > 600
