"""One slot and a fair queue in front of it, for a server that mixes up calls which are with it at once.

A call in the slot is never taken out of it: the server would answer it all the same, and its answer would meet the next
call. So a caller may leave while its call stays (an orphan); the caller's own repeat then takes the orphan over instead
of becoming a second call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

KEPT_FOR = 30.0
"""Seconds that an answer nobody received waits for its caller's repeat. The jobs' client repeats after 0.5 to 5 s; an
observation older than this is no answer to a new question."""

Answer = TypeVar("Answer")


class Ask(NamedTuple):
    """What a caller wants. Two of them are a call and its repeat only if all three are equal."""

    key: Hashable
    method: str
    payload: bytes


class Ticket:
    """One call in the lane: it waits until `begun` (in `now`'s seconds), and `orphaned` says that its caller left."""

    __slots__ = ("arrived", "ask", "begun", "orphaned")

    def __init__(self, ask: Ask, arrived: float) -> None:
        self.ask = ask
        self.arrived = arrived
        self.begun: float | None = None
        self.orphaned = False

    def __repr__(self) -> str:
        return f"Ticket({self.ask.method}, begun={self.begun}, orphaned={self.orphaned})"


class Kept(NamedTuple, Generic[Answer]):
    """The answer to an earlier call of this very caller, which nobody received."""

    answer: Answer


class LaneFull(Exception):
    """No room in the queue of `waiting` calls. `method` has held the slot for `age` seconds; None while it is free."""

    def __init__(self, method: str | None, age: float, waiting: int) -> None:
        held = "a free slot" if method is None else f"{method}, which has held the slot for {age:.3g} s"
        super().__init__(f"{waiting} calls wait behind {held}")
        self.method = method
        self.age = age
        self.waiting = waiting


class Lane(Generic[Answer]):
    """At most one call in the slot; first come first served within a key, turn by turn between keys.

    A key is a run, or a peer where no run is known. `queue` is how many calls may wait in all.
    """

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._waiting: OrderedDict[Hashable, deque[Ticket]] = OrderedDict()
        self._kept: tuple[Ask, Answer, float] | None = None
        self._last: Ticket | None = None
        self.holder: Ticket | None = None
        self.queued = 0

    def arrive(self, now: float, ask: Ask) -> Ticket | Kept[Answer]:
        """A new ticket in the queue, the orphan in the slot that `ask` repeats, or the answer kept for it.

        LaneFull when there is no room.
        """
        if self._kept is not None and self._kept[0] == ask:
            _, answer, since = self._kept
            self._kept = None
            if now - since <= KEPT_FOR:
                return Kept(answer)
        holder = self.holder
        if holder is not None and holder.orphaned and holder.ask == ask:
            holder.orphaned = False
            return holder
        if self.queued >= self._queue + (holder is None):
            if holder is None or holder.begun is None:
                raise LaneFull(None, 0.0, self.queued)
            raise LaneFull(holder.ask.method, now - holder.begun, self.queued)
        ticket = Ticket(ask, now)
        self._waiting.setdefault(ask.key, deque()).append(ticket)
        self.queued += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The ticket's caller is gone: a waiting call is forgotten, one in the slot stays there as an orphan."""
        if ticket.begun is not None:
            ticket.orphaned = True
            return
        tickets = self._waiting[ticket.ask.key]
        tickets.remove(ticket)
        self.queued -= 1
        if not tickets:
            del self._waiting[ticket.ask.key]

    def begin(self, now: float) -> Ticket | None:
        """Put the next call into the slot; None while the slot is held or nobody waits."""
        if self.holder is not None or not self._waiting:
            return None
        key, tickets = self._waiting.popitem(last=False)
        ticket = tickets.popleft()
        if tickets:
            self._waiting[key] = tickets  # behind the other keys: their turn comes first
        self.queued -= 1
        self._kept = None
        self._last = None
        self.holder = ticket
        ticket.begun = now
        return ticket

    def waiting(self) -> list[Ticket]:
        """Every ticket that is not in the slot."""
        return [ticket for tickets in self._waiting.values() for ticket in tickets]

    def end(self, now: float, ticket: Ticket, answer: Answer | None) -> None:
        """The call in the slot is over, with `answer` or (None) without one; the slot is free.

        An answer that nobody waits for is kept for the caller's repeat, until another call begins.
        """
        if ticket is not self.holder:
            raise ValueError(f"{ticket!r} is not in the slot")
        self.holder = None
        self._last = ticket
        if ticket.orphaned and answer is not None:
            self._kept = (ticket.ask, answer, now)

    def missed(self, now: float, ticket: Ticket, answer: Answer) -> None:
        """The caller left in the moment in which its answer came: it is kept as an orphan's is."""
        if ticket is self._last:
            self._kept = (ticket.ask, answer, now)

    def tidy(self, now: float) -> None:
        """Drop a kept answer that nobody came for."""
        if self._kept is not None and now - self._kept[2] > KEPT_FOR:
            self._kept = None

    def forget(self) -> None:
        """Drop the kept answer: the server that gave it is gone."""
        self._kept = self._last = None
