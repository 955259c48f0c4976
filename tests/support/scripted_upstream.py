"""A transport that plays a script: `Call -> Reply`, as outbound has it, without a socket.

Each step of the script is what one attempt meets: a status, an UpstreamError (raised), a Reply, "hang" (no answer,
ever), or a function of the call that gives any of these. The last step goes on for ever. `calls` and `times` are what
came, and when, in loop time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from blueprint_proxy.bodies.stream import BodyStream
from blueprint_proxy.calls import Call, Reply
from blueprint_proxy.config import (
    BodySettings,
    BreakerSettings,
    BudgetSettings,
    ConcurrencySettings,
    OperationSettings,
    RateSettings,
    RetrySettings,
    Timeouts,
)
from blueprint_proxy.errors import UpstreamError
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.pipeline import Pipelines
from blueprint_proxy.policies.breaker import Breaker
from blueprint_proxy.policies.budget import RetryBudget
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.policy_set import PolicySet
from blueprint_proxy.policies.rate import TokenBucket
from blueprint_proxy.policies.retry import RetryPolicy
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.telemetry.stream import Telemetry
from blueprint_proxy.upstreams.http import HttpKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Next
    from blueprint_proxy.telemetry.events import Event

Step: TypeAlias = "int | str | UpstreamError | Reply | Callable[[Call], Step]"

RETRY = RetryPolicy(attempts=3, base=1.0, cap=8.0, on=frozenset({429, 503, "connect", "reset", "timeout"}))
START = 1000.0
"""The virtual loop's time at the beginning."""


class NoFlow:
    """Whoever brings a scripted body; what was asked of it is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause_body(self) -> None:
        self.asked.append("pause")

    def resume_body(self) -> None:
        self.asked.append("resume")

    def abandon_body(self) -> None:
        self.asked.append("abandon")


class ScriptedUpstream:
    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps) or [200]
        self.calls: list[Call] = []
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = 0

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        self.times.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._play(call, self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])
        finally:
            self.in_flight -= 1

    async def _play(self, call: Call, step: Step) -> Reply:
        if isinstance(step, UpstreamError):
            raise step
        if isinstance(step, int):
            return reply(step)
        if isinstance(step, Reply):
            return step
        if isinstance(step, str):
            assert step == "hang", step
            await asyncio.get_running_loop().create_future()
        assert callable(step)
        return await self._play(call, step(call))


def reply(status: int = 200, body: bytes | BodyStream = b"", *fields: tuple[bytes, bytes]) -> Reply:
    return Reply(status, Fields.of(fields), body)


def stream(*pieces: bytes) -> BodyStream:
    """A body whose first pieces are here and whose end is for the test to tell."""
    body = BodyStream(NoFlow())
    for piece in pieces:
        body.feed(piece)
    return body


def policies(**given: object) -> PolicySet:
    """A PolicySet that stands in no test's way, but for what is given."""
    known: dict[str, object] = {
        "retry": RETRY,
        "budget": RetryBudget(1.0, 100.0),
        "breaker": breaker(),
        "rate": TokenBucket(None, 1),
        "concurrency": Concurrency(None, 0),
    }
    return PolicySet(**(known | given))  # type: ignore[arg-type]


def breaker(**given: object) -> Breaker:
    known: dict[str, object] = {
        "window": 30.0, "min_calls": 10_000, "failure_ratio": 0.5, "slow_call": None, "slow_ratio": 0.9,
        "consecutive": 10_000, "age": None, "open_for": 5.0, "open_cap": 60.0, "probes": 1, "probe_lease": 60.0,
    }  # fmt: skip
    return Breaker(**(known | given))  # type: ignore[arg-type]


def settings(*, queue_timeout: float = 60.0, per_second: float | None = None) -> OperationSettings:
    return OperationSettings(
        mode="enforce",
        deadline=None,
        timeouts=Timeouts(5.0, None, None, None),
        retry=RetrySettings(3, 1.0, 8.0, RETRY.on),
        body=BodySettings(0, 0, None),
        retry_budget=BudgetSettings(1.0, 100.0),
        breaker=BreakerSettings(30.0, 20, 0.5, None, 0.9, 10, None, 5.0, 60.0, 1, 60.0),
        concurrency=ConcurrencySettings(None, 0, queue_timeout),
        rate=RateSettings(per_second, 1),
        operation_class=None,
        owners={},
    )


def call(**given: object) -> Call:
    """A repeatable GET without a deadline, but for what is given. Deadlines are in loop time."""
    known: dict[str, object] = {
        "upstream": "up", "operation": "GET", "method": "GET", "target": b"/thing", "headers": Fields(), "body": b"",
        "settings": settings(), "policies": None, "repeatable": True, "request_id": "r-1", "arrived": START,
    }  # fmt: skip
    made = known | given
    made["policies"] = made["policies"] or policies()
    return Call(**made)  # type: ignore[arg-type]


class Heard:
    """A Telemetry and what it was told."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.events: list[Event] = []
        self.telemetry.subscribe(self.events.append)

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def all(self, name: str) -> list[dict[str, object]]:
        return [event.to_dict() for event in self.events if event.name == name]


def pipelines(transport: Next, heard: Heard, *, chance: float = 0.0, **given: object) -> Pipelines:
    """Every layer of kind http around `transport`; `chance` makes jitter certain."""
    known: dict[str, object] = {
        "kind": HttpKind(), "telemetry": heard.telemetry, "sweep": Sweep(asyncio.get_running_loop()),
        "credential": None, "links": None, "resources": frozenset(), "repeats_known": False,
        "chance": lambda: chance,
    }  # fmt: skip
    return Pipelines(transport, **(known | given))  # type: ignore[arg-type]
