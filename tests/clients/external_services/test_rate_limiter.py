from __future__ import annotations

import threading

import pytest

from blueprint_clients.external_services import rate_limiter as module
from blueprint_clients.external_services.rate_limiter import RateLimiter


class Clock:
    def __init__(self, job: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        job.setattr(module.time, "monotonic", lambda: self.now)
        job.setattr(module.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(job: pytest.MonkeyPatch) -> Clock:
    return Clock(job)


def test_a_burst_of_one_second_passes_and_then_the_pace_is_kept(clock: Clock) -> None:
    limiter = RateLimiter(4.0)  # a power of two: its quarters of a second are exact
    waits = [limiter.acquire() for _ in range(7)]
    assert waits == [0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.25]


def test_idle_time_is_not_saved_beyond_the_burst(clock: Clock) -> None:
    limiter = RateLimiter(2.0)
    clock.now += 3600
    assert [limiter.acquire() for _ in range(2)] == [0.0, 0.0]
    assert limiter.acquire() == pytest.approx(0.5)


def test_several_tokens_cost_as_much_as_one_each(clock: Clock) -> None:
    limiter = RateLimiter(10.0)
    limiter.acquire(10)
    assert limiter.acquire(5) == pytest.approx(0.5)


def test_a_waiting_caller_does_not_hold_up_the_others(job: pytest.MonkeyPatch) -> None:
    limiter = RateLimiter(1.0)
    waiting, go = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        waiting.set()
        go.wait(10)

    job.setattr(module.time, "sleep", sleep)
    limiter.acquire()
    thread = threading.Thread(target=limiter.acquire)
    thread.start()
    assert waiting.wait(10)
    assert not limiter._lock.locked()
    go.set()
    thread.join(10)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_pace_at_which_nothing_moves_is_an_error(rate: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        RateLimiter(rate)


def test_no_tokens_is_an_error() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        RateLimiter(1.0).acquire(0)


def test_a_forked_child_has_a_free_lock() -> None:
    limiter = RateLimiter(1.0)
    with limiter._lock:
        limiter.after_fork_in_child()
        assert limiter.acquire() == 0.0
