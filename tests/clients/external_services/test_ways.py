from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blueprint_clients.errors import SidecarUnreachable
from blueprint_clients.external_services.calls import CURRENT, OUTSIDE, CurrentCall
from blueprint_clients.external_services.guard import Guard
from blueprint_clients.external_services.ways import as_it_is, guarded
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from support.sidecar import ScriptedSidecar


def fail(error: BaseException) -> None:
    raise error


def test_a_result_and_an_exception_are_both_ends() -> None:
    assert as_it_is(lambda: 5, OUTSIDE).result == 5
    error = ValueError("x")
    ended = as_it_is(lambda: fail(error), OUTSIDE)
    assert ended.error is error
    assert not ended.succeeded


def test_what_is_no_exception_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        as_it_is(lambda: fail(KeyboardInterrupt()), OUTSIDE)
    assert CURRENT.get() == OUTSIDE


def test_the_call_is_known_while_it_runs_and_not_after() -> None:
    current = CurrentCall(None, frozenset({"x"}))
    assert as_it_is(CURRENT.get, current).result is current
    assert CURRENT.get() == OUTSIDE


def test_a_permit_that_never_comes_leaves_the_function_unrun() -> None:
    sidecar = sidecar_of()
    assert sidecar is not None
    runs: list[int] = []
    with pytest.raises(SidecarUnreachable):
        guarded(lambda: runs.append(1), OUTSIDE, Guard(sidecar, "x", "y", None), run=None, repeatable=None)
    assert runs == []


def test_attempts_are_counted_as_the_sidecar_counts_them(scripted: ScriptedSidecar) -> None:
    sidecar = sidecar_of()
    assert sidecar is not None
    scripted.script("POST", "/v1/guard/x/p1", scripted.again(2))
    scripted.script("POST", "/v1/guard/x/p2", scripted.again(3))
    ended = guarded(
        lambda: fail(ConnectionResetError()), OUTSIDE, Guard(sidecar, "x", "y", None), run=None, repeatable=None
    )
    assert ended.attempts == 3


def test_a_permit_that_was_given_back_is_settled_once_and_the_function_runs_once(scripted: ScriptedSidecar) -> None:
    sidecar = sidecar_of()
    assert sidecar is not None

    def gives_back() -> None:
        give_back = CURRENT.get().give_back
        assert give_back is not None
        give_back()
        give_back()
        raise ConnectionResetError

    scripted.script("POST", "/v1/guard/x/p1", scripted.again(2))
    ended = guarded(gives_back, OUTSIDE, Guard(sidecar, "x", "y", None), run=None, repeatable=None)
    assert isinstance(ended.error, ConnectionResetError)
    _, settled = scripted.guard_traffic()
    assert settled == {"outcome": "rejected", "sent": False, "message": "through"}
    with pytest.raises(KeyboardInterrupt):
        guarded(_given_back_and_interrupted, OUTSIDE, Guard(sidecar, "x", "y", None), run=None, repeatable=None)
    assert len(scripted.guard_traffic()) == 4


def _given_back_and_interrupted() -> None:
    give_back = CURRENT.get().give_back
    assert give_back is not None
    give_back()
    raise KeyboardInterrupt
