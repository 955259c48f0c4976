"""The policies in force for one operation, as frozen values without any question left open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint_proxy.config.upstream_models import Mode, OperationClass

POLICIES_WITH_STATE: tuple[Literal["breaker", "rate", "concurrency", "retry_budget"], ...] = (
    "breaker",
    "rate",
    "concurrency",
    "retry_budget",
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one attempt's phases, in seconds; None sets none."""

    connect: float
    first_byte: float | None
    idle: float | None
    attempt: float | None


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """`attempts` counts the first try; `base`, `cap`: seconds; `on`: statuses, and connect, reset, timeout."""

    attempts: int
    base: float
    cap: float
    on: frozenset[int | str]


@dataclass(frozen=True, slots=True)
class BodySettings:
    """Bytes of a request body kept in memory, then on disk; `limit` is where 413 begins (None: nowhere)."""

    memory: int
    spool: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """Repeats allowed: `ratio` of the calls, and `min` a second in any case."""

    ratio: float
    min: float


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Times in seconds. `slow_call` and `age` None turn that trip off."""

    window: float
    min_calls: int
    failure_ratio: float
    slow_call: float | None
    slow_ratio: float
    consecutive: int
    age: float | None
    open: float
    open_cap: float
    probes: int
    probe_lease: float


@dataclass(frozen=True, slots=True)
class ConcurrencySettings:
    """Attempts at once (None: no limit), calls that may wait, and their patience in seconds."""

    limit: int | None
    queue: int
    queue_timeout: float


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Attempts a second (None: no limit) and how many may come at once."""

    per_second: float | None
    burst: int


@dataclass(frozen=True, slots=True)
class OperationSettings:
    """The policies of one operation.

    `deadline` is in seconds, None for none. `operation_class` is the `class` key: what the operator says of repeating,
    None where that is the kind's to know. `message_limit` is the bytes of one message of gRPC (None: another kind);
    `unary` says that its method takes one and gives one. `owners` names, for each of breaker, rate, concurrency and
    retry_budget, whose instance counts: "" is the upstream's own, anything else the pattern that set a key of it
    (joined by " + " where several did), so that operations with one owner have equal settings and share one instance.
    """

    mode: Mode
    deadline: float | None
    timeouts: Timeouts
    retry: RetrySettings
    body: BodySettings
    retry_budget: BudgetSettings
    breaker: BreakerSettings
    concurrency: ConcurrencySettings
    rate: RateSettings
    operation_class: OperationClass | None
    owners: Mapping[str, str]
    message_limit: int | None = None
    unary: bool = False
