"""How a ServiceClient is set up. The names are those of the guide's client; what became of each is said here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from blueprint_clients.notices import say_once

KNOWN_AS = {"gemini_api": "gemini", "genie_sim_api": "geniesim"}
"""The guide's service names, and what the sidecar calls these services."""

SIDECARS_OWN = {
    "max_retries": "retry.attempts",
    "base_delay": "retry.base",
    "max_delay": "retry.cap",
    "backoff_factor": "retry.base",
    "circuit_breaker_enabled": "mode",
    "failure_threshold": "breaker",
    "recovery_timeout": "breaker.open",
    "retryable_status_codes": "retry.on",
    "retryable_exceptions": "retry.on",
}
"""Settings that the sidecar decides on, for all processes at once, and the key of its configuration."""


@dataclass
class ServiceClientConfig:
    """What a client is for, and its defaults.

    `service_name` names the service in statistics and, unless `upstream` does, at the sidecar. `default_timeout` is
    the total time of a call in seconds, None for none. `repeatable` says whether a function may be run again after a
    failure that may have had an effect; None leaves it to what the sidecar knows of the service. `through` says
    whether the functions' own requests go through the sidecar already (True), or need its permit (False); None finds
    out. With `rate_limit_enabled` this process keeps to `calls_per_second` as well.

    The other fields are accepted for the guide's call sites. Retries and breakers are the sidecar's, shared by every
    process that uses the service: a value here changes nothing, and the log says once where to set it.
    """

    service_name: str
    max_retries: int | None = None
    base_delay: float | None = None
    max_delay: float | None = None
    backoff_factor: float | None = None
    circuit_breaker_enabled: bool | None = None
    failure_threshold: int | None = None
    recovery_timeout: float | None = None
    default_timeout: float | None = 30.0
    rate_limit_enabled: bool = False
    calls_per_second: float = 10.0
    retryable_status_codes: Any = None
    retryable_exceptions: Any = None
    upstream: str | None = None
    repeatable: bool | None = None
    through: bool | None = None

    def __post_init__(self) -> None:
        if not self.service_name:
            raise ValueError("a service needs a name")
        if self.default_timeout is not None:
            checked_timeout(self.default_timeout)
        for field in fields(self):
            if field.name in SIDECARS_OWN and getattr(self, field.name) is not None:
                say_once(
                    f"{self.service_name} {field.name}",
                    "ServiceClientConfig(%r, %s=...) has no effect: set upstreams.%s.%s in the sidecar's configuration",
                    self.service_name,
                    field.name,
                    self.at_the_sidecar,
                    SIDECARS_OWN[field.name],
                )

    @property
    def at_the_sidecar(self) -> str:
        """The name of the upstream."""
        return self.upstream or KNOWN_AS.get(self.service_name, self.service_name)


def checked_timeout(timeout: float) -> float:
    """Give it back in seconds. ValueError for one in which nothing can happen: 0 is not "no limit"."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"a timeout is a number of seconds, not {type(timeout).__name__}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"a timeout must be greater than 0 seconds and finite, not {timeout}; None is the default")
    return float(timeout)
