"""What a forked child must not share with its parent: sockets, and locks that another thread may hold.

A connection that two processes read mixes their answers, and a lease's connection that a child keeps open tells the
sidecar that a dead run lives.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something with a state of its own in each process."""

    def after_fork_in_child(self) -> None:
        """Give up what belongs to the parent. Runs in the child's only thread; takes no lock that existed before."""


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()


def watch(one: Forked) -> None:
    """Call `one.after_fork_in_child()` in every child from now on, as long as somebody else keeps `one`."""
    _watched.add(one)


def _in_child() -> None:
    for one in list(_watched):
        one.after_fork_in_child()


os.register_at_fork(after_in_child=_in_child)
