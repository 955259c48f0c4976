"""The life of a simulator behind a port: which process it is, how far its start has come, whether it hangs.

An epoch is one life of its process, and after each start the simulator is empty: what was true of the process before is
not true of this one. So what may be asked, and what may be sent again, depends on the epoch and on nothing that a
connection could tell.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from blueprint_proxy.errors import Reason


class Phase(StrEnum):
    """Where the simulator is. *Unverified*: it answers, and nobody here knows whether a robot is loaded."""

    DOWN = "down"
    BOOTING = "booting"
    EMPTY = "empty"
    INITIALISING = "initialising"
    UNVERIFIED = "unverified"
    READY = "ready"
    HUNG = "hung"
    RESTARTING = "restarting"


class Life(NamedTuple):
    """What is kept over a restart of the sidecar. `initialised` None: this process was there before it was watched."""

    identity: str | None
    epoch: int
    initialised: bool | None


class Denied(NamedTuple):
    """Why a call may not go now."""

    reason: Reason
    message: str


class Simulator:
    """The state of one simulator. `boot` and `initialise` are the seconds in which slowness is no failure.

    Times are the caller's clock, in seconds.
    """

    def __init__(self, now: float, life: Life | None = None, *, boot: float, initialise: float) -> None:
        self.life = life or Life(None, 1, None)
        self._boot = boot
        self._initialise = initialise
        self._reachable = True
        self._begins = False
        self._answered = False
        self._initialising = False
        self._restarting = False
        self._restarted_from = 0
        self._hung: str | None = None
        self._phase = self.phase
        self._since = now

    @property
    def since(self) -> float:
        """When it came to its phase."""
        return self._since

    @property
    def epoch(self) -> int:
        """The number of this life, from 1."""
        return self.life.epoch

    @property
    def hung(self) -> str | None:
        """The call that hangs, in the operator's words."""
        return self._hung

    @property
    def alive(self) -> bool:
        """It has answered in this life: a heartbeat may be sent."""
        return self._answered

    @property
    def phase(self) -> Phase:
        """Where it is now."""
        if self._restarting or self._hung is not None:
            return Phase.RESTARTING if self._restarting else Phase.HUNG
        if not self._reachable:
            return Phase.DOWN
        if self._initialising:
            return Phase.INITIALISING
        if self._begins and not self._answered:
            return Phase.BOOTING
        return {True: Phase.READY, False: Phase.EMPTY, None: Phase.UNVERIFIED}[self.life.initialised]

    def overdue(self, now: float) -> bool:
        """Whether a start has taken longer than its budget. Within it, a failure says nothing about health."""
        budget = {Phase.DOWN: self._boot, Phase.BOOTING: self._boot, Phase.INITIALISING: self._initialise}
        phase = self.phase
        return phase in budget and now - self._since > budget[phase]

    def starting(self, now: float) -> bool:
        """Whether it is on its way up, within the budget."""
        return self.phase in {Phase.DOWN, Phase.BOOTING, Phase.INITIALISING} and not self.overdue(now)

    # what is seen

    def identified(self, now: float, identity: str) -> bool:
        """The process that serves the port is `identity`; True when that is another one than before: a new epoch."""
        if self.life.identity == identity:
            return False
        self._restarting = False
        if self.life.identity is None:
            # The present one, which had no name until now. One that was seen to begin is empty.
            initialised = False if self._begins else self.life.initialised
            self.life = Life(identity, self.life.epoch, initialised)
            self._moved(now)
            return False
        self._new_life(now, identity)
        return True

    def unidentified(self, now: float) -> None:
        """Something serves the port, and which process it is cannot be told any more."""
        if self.life.identity is not None:
            self.life = Life(None, self.life.epoch, None)
            self._moved(now)

    def died(self, now: float) -> None:
        """Its process has ended. The next one, whichever it is, is another life: nothing goes from this one to that."""
        self._reachable = False
        self._new_life(now, None)

    def lost(self, now: float) -> None:
        """The connection broke. Where no identity tells one process from the next, nothing is known any more."""
        if self.life.identity is None and self.life.initialised is not False:
            self.life = self.life._replace(initialised=None)
        self._initialising = False
        self._moved(now)

    def unreachable(self, now: float) -> None:
        """The port is closed: nobody can be asked. Whether its process has ended is not said by that."""
        self._reachable = False
        self._answered = False
        self._begins = True
        self._hung = None  # nothing can hang that is gone
        self.lost(now)

    def reachable(self, now: float) -> None:
        """The port is open."""
        self._reachable = True
        self._moved(now)

    def answered(self, now: float) -> None:
        """A call came back, whatever it said: the simulator's loop turns. A hang that ends by itself ends here."""
        self._reachable = self._answered = True
        self._begins = False
        self._hung = None
        self._moved(now)

    def initialising(self, now: float) -> None:
        """init_robot was sent."""
        self._initialising = True
        self._moved(now)

    def initialised(self, now: float, *, success: bool) -> None:
        """init_robot ended. Failed, it leaves the simulator as it was: half a robot counts as none."""
        self._initialising = False
        if success:
            self._answered = True
            self._begins = False
            self.life = self.life._replace(initialised=True)
        self._moved(now)

    def hangs(self, now: float, call: str) -> None:
        """The call in flight, in the operator's words, is older than its method may be."""
        self._hung = call
        self._initialising = False
        self._moved(now)

    def restarting(self, now: float) -> None:
        """It is being started again on purpose."""
        self._restarting = True
        self._restarted_from = self.epoch
        self._moved(now)

    def restarted(self, now: float) -> None:
        """The restart has done its part. Where processes have an identity, the new one's tells whether it worked."""
        self._restarting = False
        if self.life.identity is None and self.epoch == self._restarted_from:
            self._new_life(now, None)
        self._moved(now)

    def restart_failed(self, now: float) -> None:
        """It was not started again: it is what it was."""
        self._restarting = False
        self._moved(now)

    def renewed(self, now: float) -> None:
        """An operator says that this is a new simulator."""
        self._new_life(now, self.life.identity)

    # what follows

    def admit(self, *, initialises: bool, heartbeat: bool) -> Denied | None:
        """Why a call may not go, or None. Only init_robot and the heartbeat make sense to an empty simulator."""
        if self._restarting:
            return Denied(Reason.HUNG, "the simulator is being restarted")
        if self._hung is not None:
            return Denied(Reason.HUNG, f"the simulator hangs: {self._hung}")
        if self.life.initialised is False and not initialises and not heartbeat:
            return Denied(
                Reason.NOT_INITIALISED,
                f"the simulator is empty in epoch {self.epoch}: call init_robot first",
            )
        return None

    def may_repeat(self, epoch: int) -> bool:
        """Whether a call that was sent in `epoch`, and may have run, may be sent again: only into the same life."""
        return epoch == self.epoch and (self.life.identity is not None or self.life.initialised is True)

    def _new_life(self, now: float, identity: str | None) -> None:
        self.life = Life(identity, self.life.epoch + 1, initialised=False)
        self._hung = None
        self._begins = True
        self._answered = self._initialising = False
        self._moved(now)

    def _moved(self, now: float) -> None:
        if self.phase is not self._phase:
            self._phase = self.phase
            self._since = now
