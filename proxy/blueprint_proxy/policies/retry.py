"""Whether a failed attempt is tried again, and after what wait."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from blueprint_proxy.policies.backoff import after_hint, full_jitter

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What may be repeated and how often.

    `attempts` counts the first try; `base` and `cap` are seconds; `on` holds statuses and the words connect, reset and
    timeout.
    """

    attempts: int
    base: float
    cap: float
    on: frozenset[int | str]


class WhyNot(StrEnum):
    """Why there is no further try."""

    NOT_LISTED = "not_listed"
    NOT_REPEATABLE = "not_repeatable"
    BODY_LOST = "body_lost"
    EXHAUSTED = "exhausted"
    DEADLINE = "deadline"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `wait` seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The attempt's own outcome is the call's."""

    why: WhyNot


_NOT_LISTED = GiveUp(WhyNot.NOT_LISTED)
_NOT_REPEATABLE = GiveUp(WhyNot.NOT_REPEATABLE)
_BODY_LOST = GiveUp(WhyNot.BODY_LOST)
_EXHAUSTED = GiveUp(WhyNot.EXHAUSTED)
_DEADLINE = GiveUp(WhyNot.DEADLINE)
_BUDGET = GiveUp(WhyNot.BUDGET)


def decide(
    policy: RetryPolicy,
    *,
    attempt: int,
    fault: int | str,
    not_sent: bool,
    repeatable: bool,
    replayable: bool,
    hint: float | None,
    left: float | None,
    spend: Callable[[], bool],
    chance: Callable[[], float],
) -> Again | GiveUp:
    """Judge the failure of try number `attempt` (the first is 1).

    `fault` is a status or one of connect, reset, timeout. `not_sent` says that provably nothing left this host: then
    any operation may be repeated. `hint` is the upstream's own wait and `left` the time to the deadline, in seconds.
    `spend` takes one retry from the budget; it is asked last, so that nothing is taken for a try that is not made.
    """
    if fault not in policy.on:
        return _NOT_LISTED
    if not (repeatable or not_sent):
        return _NOT_REPEATABLE
    if not replayable:
        return _BODY_LOST
    if attempt >= policy.attempts:
        return _EXHAUSTED
    wait = _wait(policy, attempt, hint, chance)
    if left is not None and wait >= left:
        return _DEADLINE
    return Again(wait) if spend() else _BUDGET


def _wait(policy: RetryPolicy, attempt: int, hint: float | None, chance: Callable[[], float]) -> float:
    """Take a hint of at least `base` as the wait, plus a little. A smaller one ("now") is only a floor.

    Above it the back-off goes on growing, or an upstream that always says 0 would be asked again at full speed.
    """
    if hint is None:
        return full_jitter(attempt, policy.base, policy.cap, chance)
    wait = after_hint(hint, policy.base, chance)
    return wait if hint >= policy.base else max(wait, full_jitter(attempt, policy.base, policy.cap, chance))
