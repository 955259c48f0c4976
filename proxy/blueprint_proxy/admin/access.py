"""Which path of the admin listener is for whom, and out of which share of places it is served: the one table.

A request that no row fits needs the operator scope, so that a route added later is closed until somebody opens it here.
gate.py acts on the table, description.py writes it into the OpenAPI page.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Scope(Enum):
    """Who may ask: anybody, a job (or an operator), or operators alone."""

    OPEN = "open"
    JOB = "job"
    OPERATOR = "operator"


class Share(Enum):
    """What a request takes one place of while it lasts: what they are for, and how many there are.

    Those that last (a lease as long as its job, a guarded call as long as its back-off) have shares of their own, and
    so has whatever else jobs ask (a body that comes slowly, a secret that is still looked for), so that however many
    of them there are, an order to a breaker still finds a place. Together they are fewer than the connections that
    connection.py keeps, and the rest of those are for probes, which take no place at all.
    """

    LEASES = ("leases", 128)
    EVENTS = ("event streams", 16)
    GUARD = ("guarded functions", 240)
    JOBS = ("jobs' other requests", 64)
    ORDERS = ("operators' requests", 32)

    def __init__(self, what: str, places: int) -> None:
        self.what = what
        self.places = places


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `method` None is every method; `{}` in `template` stands for one segment; `share` None has no bound."""

    method: str | None
    template: str
    scope: Scope
    share: Share | None = Share.ORDERS

    @property
    def pattern(self) -> str:
        """A regular expression for "METHOD path"."""
        method = "[^ ]+" if self.method is None else re.escape(self.method)
        return f"{method} {'[^/]+'.join(map(re.escape, self.template.split('{}')))}"


TABLE = (
    Rule(None, "/livez", Scope.OPEN, None),
    Rule(None, "/readyz", Scope.OPEN, None),
    Rule(None, "/metrics", Scope.OPEN, None),
    Rule("GET", "/v1/addresses", Scope.JOB, Share.JOBS),
    Rule("GET", "/v1/secrets/{}", Scope.JOB, Share.JOBS),
    Rule("POST", "/v1/runs", Scope.JOB, Share.JOBS),
    Rule("GET", "/v1/runs/{}/lease", Scope.JOB, Share.LEASES),
    Rule("POST", "/v1/runs/{}/end", Scope.JOB, Share.JOBS),
    Rule("POST", "/v1/guard/{}", Scope.JOB, Share.GUARD),
    Rule("POST", "/v1/guard/{}/{}", Scope.JOB, Share.GUARD),
    Rule("GET", "/v1/events", Scope.OPERATOR, Share.EVENTS),
)

REST = Rule(None, "", Scope.OPERATOR)
"""What holds for every request that no row fits."""

_ALL = re.compile("|".join(f"({rule.pattern})" for rule in TABLE))


def rule_of(method: str, path: str) -> Rule:
    """Give the rule of a request. `path` is the decoded one, which routes are chosen by."""
    match = _ALL.fullmatch(f"{method} {path}")
    return REST if match is None or match.lastindex is None else TABLE[match.lastindex - 1]


class NoPlace(Exception):
    """Every place of a share is taken."""


class Places:
    """Counts the places taken of each share."""

    def __init__(self) -> None:
        self._taken: Counter[Share] = Counter()

    @contextmanager
    def one_of(self, share: Share | None) -> Iterator[None]:
        """Hold a place for the length of the block. NoPlace, with a sentence, when there is none."""
        if share is None:
            yield
            return
        if self._taken[share] >= share.places:
            raise NoPlace(f"all {share.places} places for {share.what} of this listener are taken")
        self._taken[share] += 1
        try:
            yield
        finally:
            self._taken[share] -= 1
