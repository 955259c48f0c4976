"""What a call carries of its run."""

from __future__ import annotations

import pytest

from blueprint_proxy.inbound.routing import RUN
from blueprint_proxy.runs.run import SCOPE, Run

LEASE = "00112233445566778899aabbccddeeff"


def test_a_leased_runs_name_tells_reruns_apart_and_does_not_give_the_lease_away():
    run = Run("scene~job", LEASE)
    assert run.name == "scene~job#00112233"
    assert LEASE not in repr(run)


def test_a_run_by_scope_alone_is_called_like_its_scope():
    assert Run("scene~job").name == "scene~job"


def test_a_tally_adds_up():
    tally = Run("scene~job").tally
    tally.count("ok", 1, 10, 20)
    tally.count("ok", 3, 0, 5)
    tally.count("failed", 2, 1, 0)
    assert tally.outcomes == {"ok": 2, "failed": 1}
    assert (tally.attempts, tally.bytes_in, tally.bytes_out) == (6, 11, 25)


@pytest.mark.parametrize("scope", ["a~b", "scene-1_x.y~sim-job", "s" * 128 + "~" + "j" * 64])
def test_a_scope_is_a_scene_and_a_job_and_can_stand_in_a_path(scope):
    assert SCOPE.fullmatch(scope)
    assert RUN.fullmatch(scope.encode())


@pytest.mark.parametrize("scope", ["a", "~b", "a~", "a~b~c", "a/b~c", "a b~c", "s" * 129 + "~j", "s~" + "j" * 65])
def test_anything_else_is_no_scope(scope):
    assert not SCOPE.fullmatch(scope)
