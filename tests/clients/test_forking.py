from __future__ import annotations

import gc
import os
import weakref

from blueprint_clients import forking


class Counted:
    def __init__(self) -> None:
        self.forks = 0

    def after_fork_in_child(self) -> None:
        self.forks += 1


def code_of_child(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_is_watched_is_told_in_the_child_and_not_in_the_parent() -> None:
    one = Counted()
    forking.watch(one)
    pid = os.fork()
    if pid == 0:
        os._exit(one.forks)
    assert code_of_child(pid) == 1
    assert one.forks == 0


def test_what_nobody_else_keeps_is_not_kept() -> None:
    one = Counted()
    forking.watch(one)
    kept = weakref.ref(one)
    del one
    gc.collect()
    assert kept() is None
