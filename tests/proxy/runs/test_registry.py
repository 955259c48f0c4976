"""Leases opened, held and ended, and the run of a call. Processes are real children; time is virtual."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.inbound.routing import RUN
from blueprint_proxy.runs.lease import Order
from blueprint_proxy.runs.processes import Unproven, Watched
from blueprint_proxy.runs.registry import (
    LAST_WORD,
    MOST_ENDED,
    MOST_LIVE,
    MOST_REMEMBERED,
    REATTACH,
    TAKE_UP,
    RunRefusal,
    Runs,
)
from blueprint_proxy.telemetry.metrics import Metrics
from support.scripted_upstream import Heard
from support.virtual_time import virtual_time

ORDER = Order("scene", "job", "bucket", 60.0)
NOBODY = Unproven("a test")


def play(test):
    """Runs `test(runs, heard)` on virtual time."""

    def run():
        @virtual_time
        async def played():
            heard = Heard()
            runs = Runs(heard.telemetry, addresses=lambda _run, _reached: None, wall=lambda: 1_700_000_000.0)
            try:
                await test(runs, heard)
            finally:
                runs.drain()

        played()

    run.__name__ = test.__name__
    return run


class Child:
    """A process that waits until its standard input ends; `watched` as it would be proven."""

    def __init__(self, *, launched=False):
        self.process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        self.watched = Watched(self.process.pid, os.pidfd_open(self.process.pid), launched)

    async def killed(self):
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        self.process.stdin.close()
        await asyncio.sleep(0)


def ending_of(lease):
    return None if lease.ending is None else (lease.ending.why, lease.ending.outcome)


# leases


@play
async def test_a_leases_id_cannot_be_guessed_and_can_stand_in_a_path(runs, heard):
    first = runs.open(ORDER, NOBODY)
    second = runs.open(Order("other", "job"), NOBODY)
    assert RUN.fullmatch(first.id.encode())
    assert len(bytes.fromhex(first.id)) == 16
    assert first.id != second.id


@play
async def test_no_event_of_a_run_holds_its_leases_id(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    runs.end(lease, "told", outcome="success")
    runs.named(lease.id)
    assert heard.names() == ["run_started", "run_ended", "run_unknown"]
    assert lease.id not in repr(heard.events)


@play
async def test_a_scope_has_one_live_lease(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    with pytest.raises(RunRefusal, match="scene~job has had a live lease since 2023-11-14T22:13:20Z") as refused:
        runs.open(ORDER, NOBODY)
    assert refused.value.why == "conflict"
    assert lease.id not in str(refused.value)
    runs.end(lease, "told")
    assert runs.open(ORDER, NOBODY).run.scope == lease.run.scope
    assert [event["why"] for event in heard.all("run_refused")] == ["conflict"]


@play
async def test_a_conflict_names_the_process_that_holds_the_lease(runs, heard):
    child = Child()
    runs.open(ORDER, child.watched)
    with pytest.raises(RunRefusal, match=f"held for process {child.process.pid}"):
        runs.admit(ORDER)
    await child.killed()


@play
async def test_live_leases_are_bounded(runs, heard):
    for number in range(MOST_LIVE):
        runs.open(Order(f"scene-{number}", "job"), NOBODY)
    with pytest.raises(RunRefusal) as refused:
        runs.open(ORDER, NOBODY)
    assert refused.value.why == "full"


@play
async def test_runs_that_are_over_are_kept_up_to_a_bound_and_the_latest_come_first(runs, heard):
    for number in range(MOST_ENDED + 5):
        runs.end(runs.open(Order(f"scene-{number}", "job"), NOBODY), "told")
    kept = runs.ended()
    assert len(kept) == MOST_ENDED
    assert kept[0].run.scope == f"scene-{MOST_ENDED + 4}~job"
    assert runs.live() == []


@play
async def test_a_lease_that_is_not_given_lets_its_process_go(runs, heard):
    runs.open(ORDER, NOBODY)
    child = Child()
    with pytest.raises(RunRefusal):
        runs.open(ORDER, child.watched)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(child.watched.pidfd)
    await child.killed()


@play
async def test_input_parameters_are_not_kept_after_the_run(runs, heard):
    lease = runs.open(Order("scene", "job", input_params={"a": 1}), NOBODY)
    assert lease.order.input_params == {"a": 1}
    runs.end(lease, "told")
    assert lease.order.input_params is None


# what ends a run


@play
async def test_a_run_ends_when_somebody_with_its_id_says_so(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    told = []
    runs.hold(lease, lambda: told.append(lease.ending))
    await asyncio.sleep(5.0)
    runs.end(lease, "told", outcome="failure", exit_status=3)
    assert [ending.exit_status for ending in told] == [3]
    assert runs.age(lease) == 5.0
    [event] = heard.all("run_ended")
    assert (event["why"], event["outcome"], event["exit_status"], event["duration"]) == ("told", "failure", 3, 5.0)


@play
async def test_the_death_of_a_watched_process_ends_its_run_at_once(runs, heard):
    child = Child()
    lease = runs.open(ORDER, child.watched)
    runs.hold(lease, lambda: None)
    await child.killed()
    assert ending_of(lease) == ("process_ended", "unknown")
    assert runs.age(lease) == 0.0


@play
async def test_a_watched_process_keeps_its_run_without_any_connection(runs, heard):
    child = Child()
    lease = runs.open(ORDER, child.watched)
    await asyncio.sleep(TAKE_UP + 1)

    def told(): ...

    runs.hold(lease, told)
    runs.let_go(lease, told)
    await asyncio.sleep(REATTACH + 1)
    assert lease.ending is None
    await child.killed()


@play
async def test_whoever_launched_a_process_has_the_last_word_on_its_end(runs, heard):
    child = Child(launched=True)
    lease = runs.open(ORDER, child.watched)
    await child.killed()
    assert lease.ending is None
    runs.end(lease, "told", outcome="failure", signal=9)
    await asyncio.sleep(LAST_WORD + 1)
    assert [(event["why"], event["signal"]) for event in heard.all("run_ended")] == [("told", 9)]


@play
async def test_a_launcher_that_is_gone_too_is_not_waited_for(runs, heard):
    child = Child(launched=True)
    lease = runs.open(ORDER, child.watched)
    await child.killed()
    await asyncio.sleep(LAST_WORD)
    assert ending_of(lease) == ("process_ended", "unknown")


@play
async def test_a_lease_that_nobody_takes_up_ends(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    await asyncio.sleep(TAKE_UP - 0.1)
    assert lease.ending is None
    await asyncio.sleep(0.2)
    assert ending_of(lease) == ("never_taken_up", "unknown")


@play
async def test_a_lost_connection_may_come_again(runs, heard):
    lease = runs.open(ORDER, NOBODY)

    def first(): ...

    def second(): ...

    runs.hold(lease, first)
    await asyncio.sleep(TAKE_UP + 1)
    runs.let_go(lease, first)
    await asyncio.sleep(REATTACH - 0.1)
    runs.hold(lease, second)
    await asyncio.sleep(REATTACH + 1)
    assert lease.ending is None


@play
async def test_without_a_process_a_connection_that_stays_away_ends_the_run(runs, heard):
    lease = runs.open(ORDER, NOBODY)

    def told(): ...

    runs.hold(lease, told)
    runs.let_go(lease, told)
    await asyncio.sleep(REATTACH)
    assert ending_of(lease) == ("connection_lost", "unknown")


@play
async def test_one_of_two_connections_keeps_the_run(runs, heard):
    lease = runs.open(ORDER, NOBODY)

    def first(): ...

    def second(): ...

    runs.hold(lease, first)
    runs.hold(lease, second)
    runs.let_go(lease, first)
    await asyncio.sleep(REATTACH + 1)
    assert lease.ending is None


@play
async def test_who_comes_to_hold_a_run_that_is_over_is_told_at_once(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    runs.end(lease, "told")
    told = []
    runs.hold(lease, lambda: told.append(1))
    assert told == [1]
    assert lease.connections == set()


@play
async def test_a_run_ends_once(runs, heard):
    child = Child()
    lease = runs.open(ORDER, child.watched)
    runs.end(lease, "told", outcome="success")
    runs.end(lease, "told", outcome="failure")
    await child.killed()
    assert ending_of(lease) == ("told", "success")
    assert len(heard.all("run_ended")) == 1


@play
async def test_an_outcome_that_comes_late_is_kept_where_nobody_had_told_one(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    runs.end(lease, "process_ended")
    runs.end(lease, "told", outcome="failure", exit_status=1)
    assert (lease.ending.why, lease.ending.outcome, lease.ending.exit_status) == ("process_ended", "failure", 1)


@play
async def test_whoever_waits_for_the_end_of_runs_is_told_of_each(runs, heard):
    over = []
    runs.on_end = over.append
    lease = runs.open(ORDER, NOBODY)
    runs.end(lease, "told")
    assert over == [lease.run]


@play
async def test_draining_ends_every_lease_and_gives_no_new_one(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    runs.drain()
    assert ending_of(lease) == ("draining", "unknown")
    with pytest.raises(RunRefusal) as refused:
        runs.open(Order("other", "job"), NOBODY)
    assert refused.value.why == "draining"


# the run of a call


@play
async def test_a_lease_id_names_its_run(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    assert runs.named(lease.id) is lease.run
    assert runs.of_request(lease.id) is lease.run


@play
async def test_without_a_name_the_only_lease_is_taken(runs, heard):
    assert runs.of_request(None) is None
    lease = runs.open(ORDER, NOBODY)
    assert runs.only is runs.of_request(None) is lease.run
    runs.open(Order("other", "job"), NOBODY)
    assert runs.of_request(None) is None


@play
async def test_the_public_name_of_a_run_opens_nothing(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    assert runs.lease(lease.run.name) is None
    with pytest.raises(Refusal):
        runs.named(lease.run.name)


@play
async def test_a_scope_names_its_live_lease(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    assert runs.named("scene~job") is lease.run


@play
async def test_a_scope_without_a_lease_is_a_run_without_a_deadline(runs, heard):
    run = runs.named("scene~job")
    assert (run.scope, run.name, run.deadline) == ("scene~job", "scene~job", None)
    assert runs.named("scene~job") is run
    assert runs.live() == []


@play
async def test_with_a_job_token_a_run_is_named_by_its_lease_alone(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    runs.by_scope = False
    for name in ("scene~job", "other~job"):
        with pytest.raises(Refusal, match="by its lease's id") as refused:
            runs.named(name)
        assert (refused.value.reason, refused.value.sent) == (Reason.FORBIDDEN, False)
    assert runs.named(lease.id) is lease.run


@play
async def test_what_is_neither_an_id_nor_a_scope_is_a_bad_request(runs, heard):
    with pytest.raises(Refusal) as refused:
        runs.named("a~b~c")
    assert refused.value.reason is Reason.BAD_REQUEST


@play
async def test_an_unknown_lease_is_told_once_and_fails_nothing(runs, heard):
    """A sidecar that was started anew must not fail the calls of a job that holds a lease of the one before."""
    for _ in range(3):
        assert runs.named("0123456789abcdef0123456789abcdef") is None
    assert heard.all("run_unknown") == [{"event": "run_unknown", "run": "01234567...", "ended": False}]


@play
async def test_a_lease_that_has_ended_is_told_by_its_runs_name(runs, heard):
    lease = runs.open(ORDER, NOBODY)
    runs.end(lease, "told")
    assert runs.named(lease.id) is None
    assert [(event["run"], event["ended"]) for event in heard.all("run_unknown")] == [(lease.run.name, True)]


@play
async def test_names_that_jobs_make_up_are_remembered_up_to_a_bound(runs, heard):
    for number in range(MOST_REMEMBERED + 10):
        runs.named(f"made-up-{number}")
        runs.named(f"scene-{number}~job")
    assert len(runs._unknown) == len(runs._by_scope_alone) == MOST_REMEMBERED


@play
async def test_a_process_and_its_descendants_belong_to_the_run_that_watches_it(runs, heard):
    child = Child()
    assert runs.of_process(child.process.pid) is None
    lease = runs.open(ORDER, child.watched)
    runs.open(Order("other", "job"), NOBODY)
    assert runs.of_process(child.process.pid) is lease.run
    assert runs.of_process(os.getpid()) is None
    own = os.pidfd_open(os.getpid())
    ours = runs.open(Order("ours", "job"), Watched(os.getpid(), own, launched=False))
    assert runs.of_process(child.process.pid) is lease.run  # the nearest
    await child.killed()
    assert runs.of_process(os.getpid()) is ours.run


@play
async def test_the_generation_moves_with_every_lease_that_comes_or_goes(runs, heard):
    seen = [runs.generation]
    lease = runs.open(ORDER, NOBODY)
    seen.append(runs.generation)
    runs.end(lease, "told")
    seen.append(runs.generation)
    assert len(set(seen)) == 3


@play
async def test_no_run_and_no_scene_is_a_label_of_a_metric(runs, heard):
    metrics = Metrics()
    metrics.attach(heard.telemetry)
    lease = runs.open(ORDER, NOBODY)
    with pytest.raises(RunRefusal):
        runs.open(ORDER, NOBODY)
    runs.end(lease, "told", outcome="success")
    runs.named(lease.id)
    counts = metrics.snapshot().counts
    assert counts["runs_started"] == {("False",): 1}
    assert counts["runs_refused"] == {("conflict",): 1}
    assert counts["runs_ended"] == {("told", "success"): 1}
    assert counts["runs_unknown"] == {(): 1}
