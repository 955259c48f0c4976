"""How many attempts are at an upstream at once, and who is next. Bookkeeping only: the layer does the waiting."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum


class Place(Enum):
    """What became of a ticket."""

    ADMITTED = "admitted"
    QUEUED = "queued"
    FULL = "full"


class Concurrency:
    """At most `limit` places (None: no limit) and a queue of at most `queue` tickets, first in, first out.

    A place belongs to an era: what was taken before new_era() counts no more, and giving it back moves nothing.
    A ticket is any hashable object that is not queued already, such as the future its owner waits on.
    """

    __slots__ = ("_active", "_queue", "era", "limit", "queue_limit")

    def __init__(self, limit: int | None, queue: int) -> None:
        self.limit = limit
        self.queue_limit = queue
        self._active = 0
        self.era = 0
        # Not a dict: taking the first of a dict again and again walks over the gaps that were left before it.
        self._queue: OrderedDict[object, None] = OrderedDict()

    @property
    def active(self) -> int:
        """Places taken."""
        return self._active

    @property
    def queued(self) -> int:
        """Tickets waiting."""
        return len(self._queue)

    def enter(self, ticket: object) -> Place:
        """Ask for a place. ADMITTED: give it back with leave(). QUEUED: wait until leave() names the ticket."""
        if self.limit is None or self._active < self.limit:
            self._active += 1
            return Place.ADMITTED
        if len(self._queue) >= self.queue_limit:
            return Place.FULL
        self._queue[ticket] = None
        return Place.QUEUED

    def new_era(self) -> None:
        """Count nobody who holds a place now: they hang, and others must not wait for them."""
        self.era += 1
        self._active = 0

    def leave(self, era: int | None = None) -> object | None:
        """Give a place of `era` (None: the present one) back; the returned ticket, if any, holds it now."""
        if era is not None and era != self.era:
            return None
        if self._active == 0:
            raise ValueError("a place was given back that nobody held")
        if self._queue:
            return self._queue.popitem(last=False)[0]
        self._active -= 1
        return None

    def withdraw(self, ticket: object) -> bool:
        """Take a ticket out of the queue. False: it is not there; once queued, it now holds a place to leave()."""
        if ticket in self._queue:
            del self._queue[ticket]
            return True
        return False
