"""The policies that one call meets, shared by all calls of the same upstream or configured pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blueprint_proxy.policies.breaker import Breaker
    from blueprint_proxy.policies.budget import RetryBudget
    from blueprint_proxy.policies.concurrency import Concurrency
    from blueprint_proxy.policies.rate import TokenBucket
    from blueprint_proxy.policies.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class PolicySet:
    """One of each. `observing` means that they decide and record, and nobody is refused, made to wait or repeated."""

    retry: RetryPolicy
    budget: RetryBudget
    breaker: Breaker
    rate: TokenBucket
    concurrency: Concurrency
    observing: bool = False
