from __future__ import annotations

import pytest

from blueprint_clients.external_services import statistics as module
from blueprint_clients.external_services.statistics import GUARDED, THROUGH, UNGUARDED, Statistics


@pytest.fixture
def now(job: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    job.setattr(module.time, "monotonic", lambda: clock[0])
    return clock


def test_before_the_first_call_nothing_has_failed() -> None:
    told = Statistics().told()
    assert (told["call_count"], told["success_rate"], told["avg_duration"]) == (0, 1.0, 0.0)
    assert told["circuit_breaker"] == {"state": "unknown", "retry_after_s": None}


def test_every_call_is_counted_once_as_an_end_and_once_as_a_way(now: list[float]) -> None:
    one = Statistics()
    one.ended(GUARDED, 99.0, None, attempts=3, succeeded=True, refused=False)
    one.ended(THROUGH, 98.0, 99.5, attempts=1, succeeded=False, refused=False)
    one.ended(UNGUARDED, 97.0, 101.0, attempts=1, succeeded=True, refused=False)
    one.ended(GUARDED, 96.0, 99.0, attempts=0, succeeded=False, refused=True)
    told = one.told()
    assert told["call_count"] == told["success_count"] + told["error_count"] == 4
    assert told["call_count"] == told["guarded_count"] + told["through_count"] + told["unguarded_count"]
    assert told["success_rate"] == 0.5
    assert told["attempt_count"] == 5
    assert told["refused_count"] == 1
    assert told["avg_duration"] == 2.5


def test_only_a_function_that_ran_past_its_deadline_overran(now: list[float]) -> None:
    one = Statistics()
    one.ended(GUARDED, 90.0, 99.0, attempts=1, succeeded=True, refused=False)
    one.ended(GUARDED, 90.0, 100.0, attempts=1, succeeded=True, refused=False)
    one.ended(GUARDED, 90.0, 99.0, attempts=0, succeeded=False, refused=True)
    assert one.told()["overrun_count"] == 1


def test_the_breaker_is_as_it_was_last_told() -> None:
    one = Statistics()
    one.breaker("open", 2.5)
    assert one.told()["circuit_breaker"] == {"state": "open", "retry_after_s": 2.5}
    one.breaker("closed")
    assert one.told()["circuit_breaker"] == {"state": "closed", "retry_after_s": None}


def test_a_forked_child_counts_on_with_a_free_lock() -> None:
    one = Statistics()
    with one._lock:
        one.after_fork_in_child()
        one.ended(GUARDED, 0.0, None, attempts=1, succeeded=True, refused=False)
    assert one.told()["call_count"] == 1
