from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from blueprint_clients.genie_sim import errors, ways
from blueprint_clients.genie_sim.channels import Line
from blueprint_clients.genie_sim.lane import Lane
from blueprint_clients.genie_sim.messages import load
from blueprint_clients.genie_sim.ways import Asking, straight, through
from support.rpc_sidecar import Reply, RpcSidecar, refused

if TYPE_CHECKING:
    from collections.abc import Iterator


def asking(method: str = "reset", timeout: float = 10.0) -> Asking:
    known = load().methods[method]
    return Asking(method, known.path, known.request(), time.monotonic() + timeout)


@pytest.fixture
def line(rpc: RpcSidecar) -> Iterator[Line]:
    one = Line(rpc.address)
    yield one
    one.close()


def test_through_the_sidecar_the_deadline_and_metadata_are_said(line: Line, rpc: RpcSidecar) -> None:
    rpc.script("reset", Reply({"msg": "reset"}, trailing=(("x-blueprint-epoch", "2"),)))
    answered = through(line, (("x-blueprint-run", "r"),), asking(timeout=5.0))
    assert answered.words["x-blueprint-epoch"] == "2"
    (asked,) = rpc.asked
    assert asked.metadata["x-blueprint-run"] == "r"
    assert asked.left is not None
    assert 0 < asked.left <= 5.1


def test_a_refusal_is_raised_and_the_call_is_not_repeated(line: Line, rpc: RpcSidecar) -> None:
    rpc.script("reset", refused("hung", "UNAVAILABLE", "reset, in flight for 61 s", not_sent="true"))
    with pytest.raises(errors.SimulatorHung, match="in flight for 61 s"):
        through(line, (), asking())
    assert len(rpc.asked) == 1


def test_a_call_that_finds_nobody_waits_for_the_sidecar_to_come_back(
    rpc: RpcSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(rpc.address)
    rpc.stop()
    backs: list[RpcSidecar] = []
    connects_within = line.connects_within

    def comes_back(seconds: float) -> bool:
        assert seconds <= ways.RESTART_PATIENCE_S
        if not backs:
            backs.append(RpcSidecar(rpc.address))
        return connects_within(seconds)

    monkeypatch.setattr(line, "connects_within", comes_back)
    through(line, (), asking())
    (back,) = backs
    assert len(back.asked) == 1
    line.close()
    back.stop()


def test_a_channel_that_only_seems_to_stand_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "RESTART_PATIENCE_S", 0.05)
    line = Line("127.0.0.1:1")
    monkeypatch.setattr(line, "connects_within", lambda _: True)
    with pytest.raises(errors.SidecarGone):
        through(line, (), asking())


def test_a_sidecar_that_does_not_come_back_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "RESTART_PATIENCE_S", 0.05)
    with pytest.raises(errors.SidecarGone) as caught:
        through(Line("127.0.0.1:1"), (), asking())
    assert caught.value.not_sent


def test_a_call_that_was_cut_is_not_sent_again(line: Line, rpc: RpcSidecar) -> None:
    cut = Reply(hold=threading.Event())
    rpc.script("reset", cut)

    def stop() -> None:
        assert cut.begun.wait(10.0)
        rpc._server.stop(0)

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(errors.MaybeExecuted):
        through(line, (), asking())
    stopping.join()
    assert cut.hold is not None
    cut.hold.set()
    assert len(rpc.asked) == 1


def test_straight_calls_wait_for_each_other(line: Line, rpc: RpcSidecar) -> None:
    lane = Lane()
    first = Reply(hold=threading.Event())
    rpc.script("reset", first, Reply())
    holder = threading.Thread(target=straight, args=(line, lane, asking()))
    holder.start()
    assert first.begun.wait(10.0)
    with pytest.raises(errors.Overloaded, match="it is held by reset") as caught:
        straight(line, lane, asking("exit", timeout=0.01))
    assert caught.value.not_sent
    assert first.hold is not None
    first.hold.set()
    holder.join()
    straight(line, lane, asking("exit"))
    assert [one.method for one in rpc.asked] == ["reset", "exit"]


def test_a_straight_call_that_is_given_up_keeps_the_place_until_it_has_ended(line: Line, rpc: RpcSidecar) -> None:
    lane = Lane()
    late = Reply(hold=threading.Event())
    rpc.script("reset", late, Reply())
    with pytest.raises(errors.CallTimedOut, match="goes on with it") as caught:
        straight(line, lane, asking(timeout=0.2))
    assert caught.value.maybe_executed
    assert late.begun.wait(10.0)
    with pytest.raises(errors.Overloaded):
        straight(line, lane, asking(timeout=0.01))
    assert late.hold is not None
    late.hold.set()
    straight(line, lane, asking())
    assert len(rpc.asked) == 2
    assert rpc.asked[0].left is not None
    assert rpc.asked[0].left > 200, "a short deadline would have left the call behind in the server"


def test_a_straight_call_that_fails_gives_its_place_back(line: Line, rpc: RpcSidecar) -> None:
    lane = Lane()
    rpc.script("reset", Reply(code="UNKNOWN", details="Exception calling application: x"), Reply())
    with pytest.raises(errors.CallFailed, match="Exception calling application"):
        straight(line, lane, asking())
    straight(line, lane, asking())


def test_a_straight_call_that_cannot_begin_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane()
    line = Line("127.0.0.1:1")

    def fail(path: str) -> None:
        raise ImportError(path)

    monkeypatch.setattr(line, "method", fail)
    with pytest.raises(ImportError):
        straight(line, lane, asking())
    assert lane.take("reset", 0.0)


def test_a_line_that_is_closed_under_a_straight_call_may_have_sent_it(line: Line, rpc: RpcSidecar) -> None:
    held = Reply(hold=threading.Event())
    rpc.script("reset", held)

    def close() -> None:
        assert held.begun.wait(10.0)
        line.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(errors.MaybeExecuted):
        straight(line, Lane(), asking())
    closing.join()
    assert held.hold is not None
    held.hold.set()
