from __future__ import annotations

import os

import pytest

from blueprint_clients.genie_sim.epochs import Epochs
from support.forks import code_of


def test_the_first_epoch_is_nothing_new() -> None:
    told: list[int] = []
    epochs = Epochs(told.append)
    epochs.saw(3)
    epochs.saw(3)
    assert (told, epochs.newest) == ([], 3)


def test_each_later_one_is_told_once_and_an_older_one_not_at_all() -> None:
    told: list[int] = []
    epochs = Epochs(told.append)
    for epoch in (1, 2, 1, 2, None, 4):
        epochs.saw(epoch)
    assert (told, epochs.newest) == ([2, 4], 4)


def test_one_that_is_only_noted_is_not_told_later_either() -> None:
    told: list[int] = []
    epochs = Epochs(told.append)
    epochs.saw(1)
    epochs.saw(2, tell=False)
    epochs.saw(2)
    assert told == []


def test_whoever_is_told_may_see_it_again() -> None:
    told: list[int] = []
    epochs = Epochs()

    def on_new(epoch: int) -> None:
        told.append(epoch)
        epochs.saw(epoch)

    epochs.on_new = on_new
    epochs.saw(1)
    epochs.saw(2)
    assert told == [2]


def test_what_it_raises_is_raised_and_the_epoch_is_told_no_more() -> None:
    def on_new(epoch: int) -> None:
        raise ValueError(epoch)

    epochs = Epochs(on_new)
    epochs.saw(1)
    with pytest.raises(ValueError, match="2"):
        epochs.saw(2)
    epochs.saw(2)


def test_a_child_that_was_forked_while_it_was_being_noted_can_note() -> None:
    epochs = Epochs()
    with epochs._lock:
        pid = os.fork()
        if pid == 0:
            epochs.saw(1)
            os._exit(epochs.newest or 0)
    assert code_of(pid) == 1
