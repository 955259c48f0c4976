"""One upstream as the runtime sees it: where it is, its credential's places, the policies of its operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config.defaults import defaults_of
from blueprint_proxy.config.operations import (
    POLICIES_WITH_STATE,
    BodySettings,
    BreakerSettings,
    BudgetSettings,
    ConcurrencySettings,
    OperationSettings,
    RateSettings,
    RetrySettings,
    Timeouts,
)
from blueprint_proxy.config.policy_values import Setting, default_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from blueprint_proxy.config.addresses import UpstreamUrl
    from blueprint_proxy.config.patterns import Pattern
    from blueprint_proxy.config.secret_places import CredentialSource
    from blueprint_proxy.config.upstream_models import Kind

UNSAID = "default"
"""The origin of a kind, url or credential that nobody set."""
REMEMBERED = 4096
"""Lookups remembered by one upstream: names and paths come from jobs, so their number has a bound."""
LONGEST_PATH = 512
"""Characters: a longer path is matched anew each time, so that the memory of lookups stays under a few MiB."""


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """PEM files towards an upstream; `ca` None is the system's trust store."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What one pattern sets (the upstream's own keys have no pattern): dotted keys to values and their origins."""

    pattern: Pattern | None
    settings: Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Provenance:
    """One value in force, where it comes from, and the reason if it is a kind's default (else "")."""

    key: str
    value: Any
    origin: str
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamSettings:
    """An upstream. `credential` None: the job's own passes through. `served` False: known, not built yet.

    `rules` holds the upstream's own keys first, then its patterns from the least to the most specific. `origins` says
    of kind, url and credential where they come from.
    """

    name: str
    kind: Kind
    url: UpstreamUrl
    credential: CredentialSource | None
    tls: UpstreamTls
    served: bool
    rules: tuple[Rule, ...]
    origins: Mapping[str, str]
    has_path_patterns: bool = False
    _by_lookup: dict[tuple[str, str, str], OperationSettings] = field(default_factory=dict, repr=False)
    _by_rules: dict[tuple[int, ...], OperationSettings] = field(default_factory=dict, repr=False)

    def for_operation(self, name: str, method: str, path: str) -> OperationSettings:
        """Return the policies of operation `name`, sent as `method` to the raw `path` (no query); remembered."""
        key = (name, method, path) if self.has_path_patterns else (name, "", "")
        found = self._by_lookup.get(key)
        if found is not None:
            return found
        matching = self.matching(name, method, path)
        found = self._by_rules.get(matching)
        if found is None:
            found = self._build(matching)
            if len(self._by_rules) >= REMEMBERED:
                self._by_rules.clear()
            self._by_rules[matching] = found
        if len(key[0]) + len(key[2]) <= LONGEST_PATH:
            if len(self._by_lookup) >= REMEMBERED:
                self._by_lookup.clear()
            self._by_lookup[key] = found
        return found

    def matching(self, name: str, method: str, path: str) -> tuple[int, ...]:
        """Return indices of the rules that apply, least specific first."""
        return tuple(
            index
            for index, rule in enumerate(self.rules)
            if rule.pattern is None or rule.pattern.matches(name, method, path)
        )

    def provenance(self, name: str, method: str, path: str) -> list[Provenance]:
        """Every policy value of the operation with where it comes from, in the order of the reference."""
        return self._explained(self.matching(name, method, path))

    def own_values(self) -> list[Provenance]:
        """Return the upstream's values as they are where no pattern matches."""
        return self._explained((0,))

    def _explained(self, matching: tuple[int, ...]) -> list[Provenance]:
        found: list[Provenance] = []
        defaults = defaults_of(self.kind)
        values = default_values(self.kind)
        for key in (*defaults, "class", "unary"):
            setting = self._setting(key, matching)
            if setting is not None:
                found.append(Provenance(key, setting.value, setting.origin))
            elif key in defaults:
                found.append(Provenance(key, values[key], f"default of kind {self.kind}", defaults[key].reason))
        return found

    def _setting(self, key: str, matching: tuple[int, ...]) -> Setting | None:
        for index in reversed(matching):
            if key in self.rules[index].settings:
                return self.rules[index].settings[key]
        return None

    def _build(self, matching: tuple[int, ...]) -> OperationSettings:
        values: dict[str, Any] = dict(default_values(self.kind))
        owners: dict[str, list[str]] = {policy: [] for policy in POLICIES_WITH_STATE}
        for index in matching:
            rule = self.rules[index]
            values.update((key, setting.value) for key, setting in rule.settings.items())
            if rule.pattern is None:
                continue
            for policy, patterns in owners.items():
                if any(key.startswith(f"{policy}.") for key in rule.settings):
                    patterns.append(rule.pattern.text)

        def section(name: str) -> dict[str, Any]:
            return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}

        retry = section("retry")
        return OperationSettings(
            mode=values["mode"],
            deadline=values["deadline"],
            timeouts=Timeouts(**section("timeouts")),
            retry=RetrySettings(retry["attempts"], retry["base"], retry["cap"], frozenset(retry["on"])),
            body=BodySettings(**section("body")),
            retry_budget=BudgetSettings(**section("retry_budget")),
            breaker=BreakerSettings(**section("breaker")),
            concurrency=ConcurrencySettings(**section("concurrency")),
            rate=RateSettings(**section("rate")),
            operation_class=values.get("class"),
            message_limit=values.get("message_limit"),
            unary=values.get("unary", False),
            owners=MappingProxyType({policy: " + ".join(patterns) for policy, patterns in owners.items()}),
        )
