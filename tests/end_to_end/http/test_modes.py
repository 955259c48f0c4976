"""A rollout in phases: observe decides nothing, off relays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.wire import reply

if TYPE_CHECKING:
    from support.stage import Stage


@pytest.fixture(params=["observing", "off"])
def hands_off(request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.getfixturevalue(request.param)
    return stage


def test_a_failure_passes_without_a_retry(hands_off: Stage) -> None:
    hands_off.upstream.answer(reply(503, b"as it came"))
    answer = hands_off.call()
    assert (answer.status, answer.body, answer.error) == (503, b"as it came", None)
    assert len(hands_off.upstream.requests) == 1


def test_no_breaker_refuses(hands_off: Stage) -> None:
    hands_off.upstream.answer(reply(500))
    assert [hands_off.call().status for _ in range(10)] == [500] * 10
    assert len(hands_off.upstream.requests) == 10


def test_a_success_passes(hands_off: Stage) -> None:
    hands_off.upstream.echo()
    assert hands_off.call("POST", "/a%2Fb", body=b"12345").status == 200
    assert hands_off.upstream.requests[0].body == b"12345"


def test_an_unreachable_upstream_is_still_answered_for(hands_off: Stage) -> None:
    hands_off.upstream.stop()
    answer = hands_off.call()
    assert (answer.status, answer.error) == (502, "upstream_unreachable")
    assert answer.value("x-blueprint-not-sent") == b"true"
