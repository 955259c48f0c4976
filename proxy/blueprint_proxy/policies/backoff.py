"""How long to wait before the next try."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGHEST_POWER = 1000  # 2.0**1000 is still a float; its product with a base may be infinite, and the cap beats that
_HINT_SHARE = 0.1
_HINT_LEAST = 0.05  # seconds: spreads callers that were all told "now"


def full_jitter(attempt: int, base: float, cap: float, chance: Callable[[], float]) -> float:
    """Seconds, uniform in [0, min(cap, base * 2**(attempt - 1))].

    `attempt` counts the failed tries so far, from 1. Any size of it is safe: the power is bounded before it is taken.
    """
    power = min(max(attempt - 1, 0), _HIGHEST_POWER)
    return chance() * min(cap, base * 2.0**power)


def after_hint(hint: float, base: float, chance: Callable[[], float]) -> float:
    """Seconds to wait when the upstream named `hint` seconds: never less, and a little more.

    The addition is uniform in [0, min(base, hint / 10 + 0.05 s)]: enough that callers told the same moment do not all
    come at it, too little to waste the patience of the job.
    """
    return hint + chance() * min(base, hint * _HINT_SHARE + _HINT_LEAST)
