"""Follows one simulator through its lives: who may call it now, when it hangs, when it is started again.

It outlives the configuration that made it: after a reload the slot is still held by what is in it.

Over 300 lines: what is seen of the process, of the port and of the call in the slot decides together, in one place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from blueprint_proxy.errors import ProxyError, Reason, Refusal, UpstreamUnreachable
from blueprint_proxy.layers.lane import Turns, caller_of
from blueprint_proxy.policies.breaker import State
from blueprint_proxy.policies.quarantine import Death, Quarantine
from blueprint_proxy.policies.restarts import Restarts
from blueprint_proxy.policies.simulator import Phase, Simulator
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.telemetry.events import CallQuarantined, SimulatorChanged, SimulatorHung, SimulatorRestarted
from blueprint_proxy.upstreams.geniesim import methods
from blueprint_proxy.upstreams.geniesim.answers import initialised
from blueprint_proxy.upstreams.geniesim.identity import identity_of
from blueprint_proxy.upstreams.geniesim.life_file import LifeFile
from blueprint_proxy.upstreams.geniesim.restart import Hook
from blueprint_proxy.upstreams.geniesim.watch import Watch, port_is_open

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from blueprint_proxy.calls import Call, Next
    from blueprint_proxy.config import SimulatorSettings, UpstreamSettings
    from blueprint_proxy.policies.breaker import Breaker
    from blueprint_proxy.policies.lane import Ticket
    from blueprint_proxy.rpc.exchange import RpcReply
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry

BOOT = 900.0
"""Seconds in which a simulator may come up before its silence is a hang: ten times what its port and loop take."""
BEAT = 10.0
"""Seconds without a call after which a heartbeat is sent: it costs one tick, and a hang is noticed before the next call
of a job that pauses to think."""
SETTLE = 1.0
"""Seconds until a quick method's handler, which a broken connection left behind, is over: sixty ticks."""
LONGEST_LEFT = 620.0
"""Seconds that a call of an earlier sidecar is waited for at most: as long as the most patient method may take."""
NOTE = 0.25
"""Seconds between two notes of what is in the slot: a kill of this process comes without a warning."""
LOOK_AGAIN = 0.1
"""Seconds between two looks while a broken connection is being explained."""
CONNECT = 2.0
"""Seconds that a call waits for the connection where the port is open: longer than the library's back-off."""
FIRST_LOOK = 5.0
"""Seconds that the first call waits for the first look."""
INITIALISING_PER_HOUR = 2
"""Restarts for a start that hangs: a scene that does not load the second time will not load the third time."""


class Doing(NamedTuple):
    """What is in the slot: the operation, for how many seconds, and whether its caller has left."""

    operation: str
    age: float
    orphaned: bool


class Supervisor:
    """The life of one upstream's simulator. `tick` must be called a few times a second."""

    def __init__(self, settings: UpstreamSettings, sweep: Sweep, telemetry: Telemetry, state_dir: Path) -> None:
        self.name = settings.name
        self._sweep = sweep
        self._now = sweep.now
        self._emit = telemetry.emit
        self._file = LifeFile(state_dir, settings.name)
        now = sweep.now()
        initialise = methods.method(methods.INIT_ROBOT).hang_s
        self.simulator = Simulator(now, self._file.read(), boot=BOOT, initialise=initialise)
        concurrency = settings.for_operation("", "", "").concurrency
        self.turns = Turns(sweep, telemetry, concurrency.queue)
        self.watch = Watch(
            self.simulator, sweep, began=self._began, moved=self._note, busy=lambda: self.turns.holder is not None
        )
        self.hook: Hook | None = None
        self._restarts: Restarts | None = None
        self._settings: SimulatorSettings | None = None
        self._quarantine = Quarantine()
        self._warm: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hook_at = 0.0
        self._hang_began = False
        self._suspected: Ticket | None = None
        self._sent_in = 0
        self._sent_at: float | None = None
        # What a sidecar that was killed left in the slot is still there, if the simulator is.
        left = min(self._file.busy_until() - time.time(), LONGEST_LEFT)
        self._left_until = now + max(SETTLE, left)
        self._left_in = 0 if self.simulator.life.identity is None and left <= 0.0 else self.epoch
        self._busy_noted = now
        self._active = now
        self._was_connected = False
        self._noted: tuple[Phase, int] = (self.simulator.phase, self.simulator.epoch)
        self.connected: Callable[[], bool] = bool
        self.connect: Callable[[float], Awaitable[None]] = asyncio.sleep
        self.breakers: Callable[[], Iterable[Breaker]] = tuple
        self.beat: Callable[[], tuple[Next, Call]] | None = None

    def configure(self, settings: UpstreamSettings) -> None:
        """The settings in force from now on."""
        if settings.simulator == self._settings:
            return
        self._settings = settings.simulator
        restart = settings.simulator.restart
        self.hook = None if restart is None else Hook(restart)
        self._restarts = (
            None
            if restart is None
            else Restarts(cooldown=restart.cooldown, per_hour=restart.per_hour, initialising=INITIALISING_PER_HOUR)
        )
        self.watch.configure(
            identity_of(settings.simulator.identity, settings.url), partial(port_is_open, settings.url)
        )

    @property
    def epoch(self) -> int:
        return self.simulator.epoch

    @property
    def doing(self) -> Doing | None:
        """What is in the slot now."""
        holder = self.turns.holder
        if holder is None or holder[0].begun is None:
            return None
        return Doing(holder[1].operation, self._now() - holder[0].begun, holder[0].orphaned)

    @property
    def remedy(self) -> str:
        """What comes of a hang."""
        if self.hook is None:
            return f"nothing starts it again: configure upstreams.{self.name}.restart, or start it again yourself"
        return f"it is started again by: {self.hook.words}"

    def may_repeat(self, epoch: int) -> bool:
        return self.simulator.may_repeat(epoch)

    # what the layers ask

    async def admit(self, call: Call) -> None:
        door = methods.refused_at_the_door(call.operation, cast("bytes", call.body))
        if door is not None:
            raise Refusal(Reason.BAD_REQUEST, door, sent=False)
        if not self.watch.looked:
            await self.first_look()
        self._refuse_unless_well(call)

    async def sending(self, call: Call) -> int:
        if not self.connected():
            # A new connection may lead to a new process, and nothing but a look can tell.
            if self._was_connected:
                self._was_connected = False
                self.simulator.lost(self._now())
            await self.watch.look()
            if self.simulator.phase is Phase.DOWN:
                raise UpstreamUnreachable("the simulator's port is closed")
            await self.connect(CONNECT)  # the library waits between two tries, also when the port is open by now
            await self.watch.look()  # whoever it is now has been there since before the connection, or that breaks
        self._refuse_unless_well(call)
        if call.operation == methods.INIT_ROBOT:
            self.simulator.initialising(self._now())
            self._note()
        while (left := self._left_until - self._now()) > 0.0 and self._left_in == self.epoch:
            await asyncio.sleep(min(left, LOOK_AGAIN))
            self._refuse_unless_well(call)
        known = methods.method(call.operation)
        if not known.quick:
            self._file.busy(time.time() + (call.settings.timeouts.attempt or known.try_s))
        self._sent_at = self._busy_noted = self._now()
        self._sent_in = self.epoch
        return self._sent_in

    def replied(self, call: Call, reply: RpcReply) -> None:
        now = self._active = self._now()
        self._was_connected = True
        if self._sent_in != self.epoch:
            return  # the last word of a life that is over
        if call.operation == methods.INIT_ROBOT:
            success = reply.ended.code is Code.OK and initialised(call.operation, cast("bytes", reply.body))
            self.simulator.initialised(now, success=success)
            self._warm.clear()
        elif reply.ended.code is Code.OK:
            self._warm.add(call.operation)
        if self.simulator.hung is not None:
            self._close_breakers()
        self.simulator.answered(now)
        if (self.simulator.phase, self.epoch) != self._noted:
            self._note()

    def ended(self) -> None:
        self._sent_at = None
        self._file.busy(None)

    def unreachable(self) -> None:
        """A refused connection: look before anything else is believed."""
        self.watch.hurry()

    async def lost(self, call: Call) -> None:
        """Wait until the call's handler must be over, or its process is known to be gone.

        A handler that is still there when the next call comes would take that one's answer.
        """
        simulator, epoch = self.simulator, self.epoch
        self._was_connected = False
        now = self._now()
        simulator.lost(now)
        until = now + SETTLE
        doing, known = self.doing, methods.method(call.operation)
        if doing is not None and not known.quick:
            until = max(until, now - doing.age + (call.settings.timeouts.attempt or known.try_s))
        while True:
            await self.watch.look()
            gone = simulator.phase is Phase.DOWN and self.watch.pid is None
            left = until - self._now()
            if gone or simulator.epoch != epoch or left <= 0.0:
                return
            await asyncio.sleep(min(left, LOOK_AGAIN))

    # what time brings

    def tick(self, now: float) -> None:
        self.turns.lane.tidy(now)
        self.watch.tick(now)
        holder = self.turns.holder
        if holder is not None:
            self._check_age(now, *holder)
            if now - self._busy_noted >= NOTE:
                self._note_busy(now)
        if self.simulator.hung is not None and self.hook is not None:
            self._restart(now, self.hook)
        if self._beat_is_due(now):
            self._begin("heartbeat", self._heartbeat())

    async def end(self) -> None:
        """For the end of the process."""
        self._note_busy(self._now())
        await self.watch.end()
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await self.turns.end()

    def _refuse_unless_well(self, call: Call) -> None:
        body = cast("bytes", call.body)
        history = self._quarantine.history(caller_of(call), call.operation, body)
        if history:
            past = "; ".join(f"epoch {death.epoch}: {death.what}" for death in history)
            raise Refusal(
                Reason.QUARANTINED,
                f"upstream {self.name}: this very {call.operation} was with the simulator each time it went: {past}",
                sent=False,
            )
        denied = self.simulator.admit(
            initialises=call.operation == methods.INIT_ROBOT,
            heartbeat=(call.target.decode("ascii", "replace"), body) == methods.HEARTBEAT,
        )
        if denied is not None:
            more = f"; {self.remedy}" if denied.reason is Reason.HUNG else ""
            raise Refusal(denied.reason, f"upstream {self.name}: {denied.message}{more}", sent=False)

    async def first_look(self, limit: float = FIRST_LOOK) -> None:
        """Wait for it, for at most `limit` seconds. What can be seen only later is seen by a later look."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not self.watch.looked:
                    await self.watch.look()

    def _check_age(self, now: float, ticket: Ticket, call: Call) -> None:
        limit = call.settings.breaker.age
        known = methods.method(call.operation)
        if known.first_s is not None and limit == known.hang_s and call.operation not in self._warm:
            limit = known.first_s
        age = 0.0 if self._sent_at is None else now - self._sent_at  # before, it waits for what is no fault of its own
        simulator = self.simulator
        if limit is None or age <= limit or simulator.hung is not None or simulator.phase is Phase.RESTARTING:
            return
        if simulator.phase is Phase.BOOTING and simulator.starting(now):
            return  # it has not answered yet in this life: slow to start is not hung
        self._hang_began = simulator.phase in {Phase.BOOTING, Phase.INITIALISING}
        simulator.hangs(now, f"{call.operation}, in flight for {age:.3g} s")
        self._suspect(ticket, call, f"it hung for {age:.3g} s")
        self._emit(SimulatorHung(self.name, call.operation, call.request_id, age, self.epoch, self.remedy))
        for breaker in self.breakers():
            breaker.hold_open(now)
        self.turns.refuse_all(self._hung)
        self._note()

    def _note_busy(self, now: float) -> None:
        """For the next sidecar: until when the call in the slot is waited for.

        One that takes longer than its method should is given as long again as it has taken.
        """
        holder = self.turns.holder
        if holder is None or self._sent_at is None:
            return
        self._busy_noted = now
        call, age = holder[1], now - self._sent_at
        usual = call.settings.timeouts.attempt or methods.method(call.operation).try_s
        self._file.busy(time.time() + max(usual - age, age, SETTLE))

    def _hung(self, call: Call) -> Refusal:
        return Refusal(
            Reason.HUNG,
            f"upstream {self.name}: the simulator hangs: {self.simulator.hung}; {self.remedy}",
            sent=False,
            attempts=call.attempts,
        )

    def _restart(self, now: float, hook: Hook) -> None:
        if self._restarts is None or now < self._hook_at or not self._idle("restart"):
            return
        wait = self._restarts.ask(now, initialising=self._hang_began)
        if wait > 0.0:
            self._hook_at = now + wait
            self._emit(SimulatorRestarted(self.name, "put_off", None, wait, ""))
            return
        self.simulator.restarting(now)
        self._note()
        self._begin("restart", self._run(hook))

    async def _run(self, hook: Hook) -> None:
        ended = await hook.run(self.watch.pid)
        self._hook_at = self._now() + SETTLE  # what came of it is not seen in the same moment
        outcome = "done" if ended.code == 0 else "failed"
        self._emit(SimulatorRestarted(self.name, outcome, ended.code, 0.0, ended.output))
        # Where nobody can tell one process from the next, a hook that says it worked is all there is to go by.
        if ended.code == 0 or self.simulator.life.identity is not None:
            self.simulator.restarted(self._now())
        else:
            self.simulator.restart_failed(self._now())
        self.watch.hurry()
        self._note()

    def _began(self, why: str) -> None:
        """Another life: nothing of the last one counts any more."""
        holder = self.turns.holder
        if holder is not None:
            self._suspect(*holder, why)
        self.turns.lane.forget()
        self._warm.clear()
        self._close_breakers()

    def _suspect(self, ticket: Ticket, call: Call, what: str) -> None:
        if ticket is self._suspected:
            return  # that it hung and that it was killed for it is one death
        self._suspected = ticket
        death = Death(self.epoch, what)
        if self._quarantine.record(caller_of(call), call.operation, cast("bytes", call.body), death):
            self._emit(CallQuarantined(self.name, call.operation, call.request_id, what))

    def _close_breakers(self) -> None:
        """What made them open is over. What an operator did to one stays."""
        now = self._now()
        for breaker in self.breakers():
            if breaker.state(now) in {State.OPEN, State.HALF_OPEN}:
                breaker.reset(now)

    def _beat_is_due(self, now: float) -> bool:
        return (
            self.beat is not None
            and now - self._active >= BEAT
            and self.simulator.alive
            and self.simulator.phase in {Phase.READY, Phase.EMPTY, Phase.UNVERIFIED}
            and self.turns.holder is None
            and not self.turns.lane.queued
            and self._idle("heartbeat")
        )

    async def _heartbeat(self) -> None:
        if self.beat is None:
            return
        self._active = self._now()
        send, call = self.beat()
        try:
            await send(call)
        except ProxyError:
            return  # whoever follows the simulator's life has heard of it already

    def _idle(self, name: str) -> bool:
        task = self._tasks.get(name)
        return task is None or task.done()

    def _begin(self, name: str, work: object) -> None:
        self._tasks[name] = self._sweep.loop.create_task(work)  # type: ignore[arg-type]  # a coroutine of None

    def _note(self) -> None:
        """Write down and tell what has changed."""
        self._file.write(self.simulator.life)
        now = (self.simulator.phase, self.epoch)
        if now != self._noted:
            before, self._noted = self._noted[0], now
            why = self.watch.why_unseen if now[0] is Phase.UNVERIFIED else self._file.problem
            self._emit(SimulatorChanged(self.name, before.value, now[0].value, self.epoch, why or ""))
