from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.notices import forget, say_once

if TYPE_CHECKING:
    import pytest


def test_a_topic_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    say_once("a", "first %s", 1)
    say_once("a", "second")
    say_once("b", "third")
    assert [record.getMessage() for record in caplog.records] == ["first 1", "third"]


def test_a_forgotten_topic_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    say_once("a", "first")
    forget()
    say_once("a", "again")
    assert len(caplog.records) == 2
