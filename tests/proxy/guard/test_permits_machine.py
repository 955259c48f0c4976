"""The guard under any order of requests, outcomes, hang-ups, waits and ends: no place and no permit is ever lost."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blueprint_proxy.errors import Refusal
from blueprint_proxy.guard.function import HandedOut, Told
from blueprint_proxy.guard.permits import UnknownPermit
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.rate import TokenBucket
from blueprint_proxy.runs.run import Run
from support.guard_stage import Staged
from support.scripted_upstream import breaker
from support.virtual_time import VirtualTimeLoop

PLACES, QUEUE, MOST = 2, 3, 8
TOLD = [
    Told("success"), Told("rejected"), Told("unknown"), Told("failure"), Told("failure", sent=False),
    Told("failure", status=503), Told("throttled"), Told("throttled", retry_after=3.0),
]  # fmt: skip


class Functions(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.waiting = []
        self.out = []
        self.run = Run("s~j", "0" * 32)
        self.staged = self.do(self.build())

    async def build(self):
        return Staged(
            most=MOST,
            runs={"mine": self.run, None: None}.__getitem__,
            concurrency=Concurrency(PLACES, QUEUE),
            rate=TokenBucket(5.0, 2),
            breaker=breaker(consecutive=3, probe_lease=20.0),
        )

    def do(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def wait_for(self, coroutine):
        self.waiting.append(self.loop.create_task(coroutine))

    def settle_down(self, seconds=0.0):
        """Let time pass, and take in what the waiting requests were answered."""
        for _ in range(6):
            self.do(asyncio.sleep(0))
        self.do(asyncio.sleep(seconds))
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled() and task.exception() is None and isinstance(task.result(), HandedOut):
                self.out.append(task.result().permit)
            elif not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), Refusal | UnknownPermit), task.exception()

    @rule(
        timeout=st.sampled_from([None, 0.01, 4.0, 30.0]),
        repeatable=st.booleans(),
        run=st.sampled_from([None, "mine"]),
    )
    def ask(self, timeout, repeatable, run):
        self.wait_for(self.staged.ask(timeout=timeout, repeatable=repeatable, run=run))
        self.settle_down()

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 100), told=st.sampled_from(TOLD), twice=st.booleans())
    def settle(self, which, told, twice):
        permit = self.out.pop(which % len(self.out))
        for _ in range(1 + twice):
            self.wait_for(self.staged.settle(permit, told))
        self.settle_down()

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100), at_once=st.booleans())
    def hang_up(self, which, at_once):
        self.waiting[which % len(self.waiting)].cancel()
        if not at_once:
            self.settle_down()

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 6.0, 40.0, 700.0]))
    def wait(self, seconds):
        self.settle_down(seconds)

    @rule()
    def the_run_ends(self):
        self.staged.guard.end_run(self.run)
        self.settle_down()

    @rule()
    def the_proxy_aborts(self):
        self.staged.guard.abort()
        self.settle_down()

    @invariant()
    def counts_agree(self):
        guard, concurrency = self.staged.guard, self.staged.policies.concurrency
        assert guard.in_flight <= MOST
        assert guard.permits <= concurrency.active <= PLACES
        assert concurrency.queued <= QUEUE
        assert guard.in_flight == self.staged.upstream.pipelines.in_flight or self.waiting
        assert guard.quiet.is_set() is (guard.in_flight == 0)

    def teardown(self):
        try:
            for task in self.waiting:
                task.cancel()
            self.staged.guard.abort()
            self.settle_down(1.0)
            self.staged.assert_nothing_is_left()
            assert not self.waiting
            assert self.loop.failures == []
        finally:
            self.loop.close()


test_under_any_order_of_events_no_place_and_no_permit_is_lost = Functions.TestCase
test_under_any_order_of_events_no_place_and_no_permit_is_lost.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
