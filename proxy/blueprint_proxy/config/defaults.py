"""What is in force where nothing is set, by kind, each value with its reason; and the upstreams without a file.

They start from the guide's factories (three to five attempts, breaker after five failures, one timeout for everything).
A value that differs from them says what was seen to go wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from blueprint_proxy.upstreams.geniesim import methods as genie_sim

Value = str | float | int | None | tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Default:
    """A value in the file's own notation, and why it is this one."""

    value: Value
    reason: str


FAULTS = ("connect", "reset", "timeout")

MESSAGE_LIMIT = Default(
    "64MiB", "the library's own 4 MiB are too few for one camera image; three stereo images at once fit"
)

EVERY_KIND: dict[str, Default] = {
    "mode": Default(
        "enforce", "a guard that only watches protects nobody; observe and off are for a rollout and a rollback"
    ),
    "deadline": Default("5m", "without one a call waits for as long as its upstream likes"),
    "timeouts.connect": Default(
        "5s", "a host that does not complete a handshake in 5 s is down; the guide has no connect limit"
    ),
    "timeouts.first_byte": Default("60s", "the jobs' own request timeout, now apart from the body's"),
    "timeouts.idle": Default("60s", "bounds a body that stalls, without bounding one that is long"),
    "timeouts.attempt": Default(None, "one limit over the whole attempt cuts long bodies that make progress"),
    "retry.attempts": Default(3, "as in the guide; counts the first try"),
    "retry.base": Default(
        "250ms", "the guide's fixed 1 s outlasts most restarts of a local service; the growth covers the rest"
    ),
    "retry.cap": Default("10s", "a longer wait than this belongs to the breaker"),
    "retry.on": Default(
        (429, 502, 503, 504, *FAULTS),
        "the guide repeats after any error, programming errors too, and after a 500, which may have executed",
    ),
    "retry_budget.ratio": Default(
        0.2, "repeats add at most a fifth to a failing upstream's load; the guide bounds nothing"
    ),
    "retry_budget.min": Default(10.0, "per second: a quiet job may always repeat its few calls"),
    "breaker.window": Default("30s", "several attempts of every kind fit in it; a ratio needs no longer memory"),
    "breaker.min_calls": Default(20, "a ratio of fewer calls is chance"),
    "breaker.failure_ratio": Default(0.6, "a service that answers half of its calls is still worth its retries"),
    "breaker.slow_call": Default(None, "how slow is too slow is for the operator to say"),
    "breaker.slow_ratio": Default(0.9, "only a service that is slow nearly always is refused for it"),
    "breaker.consecutive": Default(
        10,
        "opens for a job that calls too seldom for a ratio; the guide's 5 in one minute never came on slow failures",
    ),
    "breaker.age": Default(
        "45s",
        "a hang brings no failures to count (50 timeouts of 62 s left the guide's breaker closed); before first_byte",
    ),
    "breaker.open": Default("5s", "a restart is noticed soon; the period grows while probes fail"),
    "breaker.open_cap": Default("2m", "an upstream that is back is used again after two minutes at most"),
    "breaker.probes": Default(2, "the guide lets all waiting calls through a half-open breaker (50 of 50)"),
    "breaker.probe_lease": Default("60s", "a probe that never ends gives its place back"),
    "concurrency.limit": Default(256, "more than any job has in flight, less than a host has file descriptors"),
    "concurrency.queue": Default(1024, "a burst waits its turn; beyond this the job is told at once"),
    "concurrency.queue_timeout": Default("60s", "the jobs' own patience with a request"),
    "rate.per_second": Default(None, "no limit is known"),
    "rate.burst": Default(20, "counts only where per_second is set"),
    "body.memory": Default("1MiB", "nearly every API request fits; larger ones replay from disk"),
    "body.spool": Default(
        "1GiB", "the largest upload that a job sends in one request; beyond it a body is not repeatable"
    ),
    "body.limit": Default(None, "jobs are trusted with their own sizes"),
}

BY_KIND: dict[str, dict[str, Default]] = {
    "http": {},
    "gcs": {
        "deadline": Default(None, "a GiB takes as long as it takes; timeouts.idle bounds a stall"),
        "retry.attempts": Default(5, "writes of a run's results are worth the wait; the guide's 3 end within 3 s"),
        "retry.base": Default("1s", "as in the guide and in Google's own clients"),
        "retry.cap": Default("30s", "five attempts then span a minute of trouble at most"),
        "retry.on": Default(
            (408, 429, 500, 502, 503, 504, *FAULTS), "the statuses that Cloud Storage documents as transient"
        ),
        "concurrency.limit": Default(
            128, "parallel uploads of one job stay far below it, and so does the disk behind them"
        ),
    },
    "gemini": {
        "deadline": Default("10m", "two slow generations and the waits between them"),
        "timeouts.first_byte": Default(
            "5m", "thinking models with search answer nothing for minutes; the guide's 30 s cut them"
        ),
        "timeouts.idle": Default("2m", "a stream of a thinking model pauses between parts"),
        "retry.attempts": Default(4, "the guide's 3 end inside one quota window"),
        "retry.base": Default(
            "1s", "the guide's 2 s is a fixed wait; with jitter and the API's own hints 1 s is a start"
        ),
        "retry.cap": Default("60s", "a quota window of the API is a minute"),
        "retry.on": Default(
            (429, 499, 500, 503, 504, *FAULTS),
            "the API's transient statuses; the jobs raised 429 at once and repeated 400",
        ),
        "breaker.age": Default(
            "4m", "longer than thinking models take; before first_byte, which only then fails the call itself"
        ),
        "concurrency.limit": Default(64, "a generation is large and slow; more at once only meet the quota"),
        "rate.per_second": Default(
            10.0, "twice the guide's 5, as a 429 slows the rate by itself and success speeds it up"
        ),
        "rate.burst": Default(20, "two seconds' worth may go out at once"),
    },
    "particulate": {
        "timeouts.first_byte": Default(
            "200s",
            "the service waits up to 60 s for its lock and runs up to 120 s; the guide's 15 s gave up before",
        ),
        "retry.attempts": Default(1, "a repeat queues behind its own first try until merging is built"),
        "breaker.age": Default("190s", "longer than the service's slowest answer (180 s); before first_byte"),
        "concurrency.limit": Default(
            1, "the service holds one lock: a second call only waits inside it, on its own clock"
        ),
    },
    "grpc": {
        "deadline": Default(
            None, "a stream lives as long as its job needs it; timeouts.first_byte bounds an attempt of a unary call"
        ),
        "timeouts.idle": Default(
            None, "a stream that waits for an event says nothing for hours; keepalive tells a dead connection"
        ),
        "concurrency.limit": Default(
            4096, "a thousand open streams are ordinary; each costs about 50 KiB here, and one connection carries all"
        ),
        "message_limit": MESSAGE_LIMIT,
        "retry.on": Default(
            (429, 503, 504, *FAULTS), "RESOURCE_EXHAUSTED, UNAVAILABLE and DEADLINE_EXCEEDED by their HTTP names"
        ),
    },
    "geniesim": {
        "message_limit": MESSAGE_LIMIT,
        "deadline": Default(
            None, "each method has its own patience and its own age of a hang; exit may take ten minutes"
        ),
        "timeouts.first_byte": Default(
            None, "nothing is ever cancelled at the simulator: its handler would go on and take the next call's answer"
        ),
        "timeouts.idle": Default(None, "its methods have one message each way"),
        "timeouts.attempt": Default(
            "30s", "how long an unsafe call's caller waits for one try; each method's own is below"
        ),
        "retry.attempts": Default(
            3, "after the attempt ended, by the method's class; what is in the slot is joined and never repeated"
        ),
        "retry.on": Default(
            (500, 503, "connect", "reset"),
            "UNKNOWN (once, for read_only methods), UNAVAILABLE, and connections that fail",
        ),
        "breaker.age": Default("2m", "a call of this age means that the simulator hangs; each method's own is below"),
        "concurrency.limit": Default(1, "the server has one slot for a command, across processes"),
        "concurrency.queue": Default(64, "at one call a tick a second's worth of calls; more means that it hangs"),
    },
}


def _of_method(name: str) -> dict[str, Default]:
    known = genie_sim.method(name)
    again = {
        "read_only": "it reads",
        "idempotent": "it sets absolute values",
        "unsafe": "it adds up, moves or ends something",
    }
    first = "" if known.first_s is None else f"; {known.first_s:g} s for the first one after init_robot"
    return {
        "class": Default(known.class_, again[known.class_]),
        "timeouts.attempt": Default(f"{known.try_s:g}s", "beyond what it takes where all is well"),
        "breaker.age": Default(f"{known.hang_s:g}s", f"a bound visible in the server and its clients{first}"),
    }


BY_OPERATION: dict[str, dict[str, dict[str, Default]]] = {
    "geniesim": {name: _of_method(name) for name in (*genie_sim.names(), genie_sim.UNKNOWN)},
}
"""What differs by operation, where nothing is set: what is set for the whole upstream wins over it."""

BUILT_IN_UPSTREAMS: dict[str, dict[str, Any]] = {
    "gemini": {
        "kind": "gemini",
        "url": "https://generativelanguage.googleapis.com",
        "credential": {"secret": "gemini-api-key", "env": "GEMINI_API_KEY"},
    },
    "particulate": {"kind": "particulate", "url": "http://localhost:8080"},
    "gcs": {"kind": "gcs", "url": "https://storage.googleapis.com", "credential": {"google": "adc"}},
    "geniesim": {"kind": "geniesim", "url": "grpc://localhost:50051"},
}
"""In the file's own notation, as the contract has them."""


@cache
def defaults_of(kind: str) -> dict[str, Default]:
    """Every policy key of a kind with its default."""
    return EVERY_KIND | BY_KIND[kind]
