"""The simulator's lives, as a client sees them in its answers and refusals."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from blueprint_clients import forking

if TYPE_CHECKING:
    from collections.abc import Callable


class Epochs:
    """The newest epoch seen, and whom to tell of one that is newer. Safe for threads and for fork."""

    def __init__(self, on_new: Callable[[int], object] | None = None) -> None:
        self.newest: int | None = None
        self.on_new = on_new
        self._lock = threading.Lock()
        forking.watch(self)

    def saw(self, epoch: int | None, *, tell: bool = True) -> None:
        """Take note, and call `on_new` in this thread for an epoch after the first that nobody has seen before.

        With `tell` False only the note is taken. What `on_new` raises is raised here.
        """
        if epoch is None:
            return
        with self._lock:
            known = self.newest
            if known is not None and epoch <= known:  # an answer of the life before that another thread waited for
                return
            self.newest = epoch
        on_new = self.on_new
        if tell and known is not None and on_new is not None:
            on_new(epoch)

    def after_fork_in_child(self) -> None:
        """Take a lock that no thread of the parent holds."""
        self._lock = threading.Lock()
