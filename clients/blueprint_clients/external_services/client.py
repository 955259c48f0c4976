"""ServiceClient: run a function under the sidecar's retries, breaker, limits and deadline.

A function can reach its service in two ways. It goes *through* the sidecar when its own request is sent to the
sidecar's address: retries, breaker and the rest happen there, and a permit on top would hold a second place at the
service and multiply the retries, so it is run as it is. Otherwise it is *guarded*: a permit first, then the function,
then its outcome told. Which of the two, a client guesses from its settings and then learns: an answer that bears the
sidecar's fields came through it, an HTTP answer without them did not.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from blueprint_clients.errors import BlueprintError, CircuitBreakerOpen, SidecarUnreachable, refusal
from blueprint_clients.external_services.calls import CURRENT, Account, CurrentCall
from blueprint_clients.external_services.configuration import ServiceClientConfig, checked_timeout
from blueprint_clients.external_services.guard import Guard
from blueprint_clients.external_services.outcomes import headers_of, status_of
from blueprint_clients.external_services.pointing import fields, say_absent
from blueprint_clients.external_services.rate_limiter import RateLimiter
from blueprint_clients.external_services.statistics import GUARDED, THROUGH, UNGUARDED, Statistics
from blueprint_clients.external_services.ways import as_it_is, guarded
from blueprint_clients.leases import run_of_this_process
from blueprint_clients.notices import say_once
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_clients.external_services.ways import Ended
    from blueprint_clients.sidecar import Sidecar

T = TypeVar("T")


class ServiceClient:
    """Calls to one service. Safe for threads and for fork; all clients of a service share the sidecar's one breaker."""

    kind: str | None = None
    """The kind of upstream that it is for, where it is not for one by name."""

    def __init__(self, config: ServiceClientConfig | str) -> None:
        self.config = ServiceClientConfig(config) if isinstance(config, str) else config
        self._statistics = Statistics()
        self._upstream = self.config.at_the_sidecar
        self._learned: bool | None = None
        self._pace = RateLimiter(self.config.calls_per_second) if self.config.rate_limit_enabled else None

    def call(self, func: Callable[[], T], timeout: float | None = None, operation_name: str | None = None) -> T:
        """Run `func` and return what it returns.

        `timeout` is the total time in seconds: waits, attempts and pauses between them. None is the client's default;
        0 is a ValueError. A function cannot be interrupted: one that comes back late has still come back, its result
        is returned and counted as an overrun. After the last attempt its real exception is raised, or its real answer
        returned, with an Account in `.blueprint`. Raises a BlueprintError where the sidecar refuses the call. Without
        a sidecar the function is run as it is, which is said once.
        """
        wait = self.config.default_timeout if timeout is None else checked_timeout(timeout)
        began = time.monotonic()
        deadline = None if wait is None else began + wait
        if self._pace is not None:
            self._pace.acquire()
        way, operation = GUARDED, operation_name or "call"
        try:
            way, ended = self._run(func, operation, deadline)
        except BaseException as error:
            self._statistics.ended(
                way, began, deadline, attempts=0, succeeded=False, refused=isinstance(error, BlueprintError)
            )
            if isinstance(error, BlueprintError):
                self._breaker_says(error)
            raise
        refused = self._refusal(ended) if way == THROUGH else None
        self._statistics.ended(
            way, began, deadline, attempts=ended.attempts, succeeded=ended.succeeded, refused=refused is not None
        )
        if refused is not None:
            self._breaker_says(refused)
            raise refused from ended.error
        if not ended.succeeded:
            _explain(ended, Account(self._upstream, operation, way, ended.attempts, ended.reason))
        if ended.error is None:
            result: T = ended.result
            return result
        try:
            raise ended.error
        finally:
            del ended  # its traceback holds this frame

    def get_stats(self) -> dict[str, Any]:
        """Give this client's counts since it was made, and what the sidecar last told of the breaker."""
        return {"service_name": self.config.service_name, **self._statistics.told()}

    @staticmethod
    def headers() -> dict[str, str]:
        """Give the fields that a request to the sidecar's data address needs: the job's token, where one is set."""
        return fields()

    def _run(self, func: Callable[[], T], operation: str, deadline: float | None) -> tuple[str, Ended]:
        outer = CURRENT.get()
        sidecar = sidecar_of()
        if sidecar is None:
            return UNGUARDED, as_it_is(func, CurrentCall(deadline, outer.holds))
        try:
            upstream = self._resolve(sidecar)
            if upstream in outer.holds:  # a call inside a call: it has the outer one's permit
                return GUARDED, as_it_is(func, CurrentCall(deadline, outer.holds))
            through = self._goes_through(sidecar)
            if through:
                ended = as_it_is(func, CurrentCall(deadline, outer.holds))
            else:
                ended = guarded(
                    func,
                    CurrentCall(deadline, outer.holds | {upstream}),
                    Guard(sidecar, upstream, operation, deadline),
                    run=run_of_this_process(),
                    repeatable=self.config.repeatable,
                )
                self._statistics.breaker("open" if ended.reason == CircuitBreakerOpen.usual_reason else "closed")
        except SidecarUnreachable as error:
            say_absent(error)
            return UNGUARDED, as_it_is(func, CurrentCall(deadline, outer.holds))
        self._learn(ended, through=through)
        return THROUGH if through else GUARDED, ended

    def _resolve(self, sidecar: Sidecar) -> str:
        """Find out the upstream's name. May raise SidecarUnreachable."""
        if self.kind is not None and self.config.upstream is None:
            found = sidecar.addresses().of_kind(self.kind)
            if found is not None:
                self._upstream = found.name
        return self._upstream

    def _goes_through(self, sidecar: Sidecar) -> bool:
        """Whether functions reach their service by way of the sidecar. May raise SidecarUnreachable."""
        if self.config.through is not None:
            return self.config.through
        return self._guess(sidecar) if self._learned is None else self._learned

    def _guess(self, sidecar: Sidecar) -> bool:  # noqa: ARG002 -- what each factory's client answers for its SDK
        """Guess it, before an answer has shown it."""
        return False

    def _learn(self, ended: Ended, *, through: bool) -> None:
        """Learn from an answer or exception how its function reached the service."""
        shown = self._shown(ended)
        if shown is None or shown == through or self.config.through is not None:
            return
        self._learned = shown
        say_once(
            f"way {self.config.service_name} {shown}",
            "functions of %r reach their service %s the sidecar: from now on they are %s",
            self.config.service_name,
            "through" if shown else "around",
            "run as they are" if shown else "guarded by permits",
        )

    def _shown(self, ended: Ended) -> bool | None:
        """Whether it came through the sidecar; None where nothing shows."""
        headers = headers_of(ended.result if ended.error is None else ended.error)
        if headers is not None and _is_the_sidecars(headers):
            return True
        return None if headers is None or ended.outcome.status is None else False

    def _refusal(self, ended: Ended) -> BlueprintError | None:
        """Read the sidecar's own refusal from what a function ended with; None for a service's real answer."""
        carrier = ended.result if ended.error is None else getattr(ended.error, "response", None)
        headers = headers_of(carrier) if carrier is not None else headers_of(ended.error)
        if headers is None or headers.get("x-blueprint-source") != "proxy" or "x-blueprint-error" not in headers:
            return None
        body = getattr(carrier, "content", b"")
        status = status_of(carrier) or ended.outcome.status or 0
        return refusal(status, headers, body if isinstance(body, bytes) else b"")

    def _breaker_says(self, error: BlueprintError) -> None:
        if isinstance(error, CircuitBreakerOpen):
            self._statistics.breaker("open", error.retry_after)


def _is_the_sidecars(headers: dict[str, str]) -> bool:
    return "x-blueprint-source" in headers or "x-blueprint-attempts" in headers


def _explain(ended: Ended, account: Account) -> None:
    """Leave on an exception or answer how its call went, where it takes an attribute."""
    headers = headers_of(ended.result if ended.error is None else ended.error) or {}
    attempts = headers.get("x-blueprint-attempts", "")
    account = account._replace(
        attempts=int(attempts) if attempts.isascii() and attempts.isdigit() else account.attempts,
        reason=account.reason or headers.get("x-blueprint-error"),
        request_id=headers.get("x-request-id"),
    )
    carrier: Any = ended.result if ended.error is None else ended.error
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        carrier.blueprint = account
    add_note = getattr(ended.error, "add_note", None)  # Python 3.11
    if add_note is not None and account.attempts > 1:
        why = account.reason or "given up"
        add_note(f"{account.attempts} attempts at {account.upstream} ({account.operation}): {why}")
