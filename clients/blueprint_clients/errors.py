"""What can go wrong, one class for each reason of the contract's table of refusals.

A refusal is the sidecar's own word in a service's place. What a service or a job's own function raised is never one of
these: it is raised as it came.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfigurationError(ValueError):
    """A setting of the job that cannot be meant: it says which one and what it may be."""


class GenieSimAPIError(Exception):
    """Genie Sim cannot be reached or has said no."""


class BlueprintError(Exception):
    """Anything that the sidecar refuses, and the base of all that follows.

    `reason` is the contract's word, `status` the HTTP status. `retry_after` is in seconds. `not_sent`: it is proven
    that nothing left this host; `maybe_executed`: the service may have acted; both False where neither is known.
    `attempts` counts the tries made before giving up.
    """

    usual_reason = ""

    carried: ClassVar[tuple[str, ...]] = (
        "reason", "status", "upstream", "request_id", "retry_after", "not_sent", "maybe_executed", "attempts",
    )  # fmt: skip
    """What is kept when an error is copied into another process or under another class."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        status: int | None = None,
        upstream: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        not_sent: bool = False,
        maybe_executed: bool = False,
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.usual_reason if reason is None else reason
        self.status = status
        self.upstream = upstream
        self.request_id = request_id
        self.retry_after = retry_after
        self.not_sent = not_sent
        self.maybe_executed = maybe_executed
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle, so that a process pool can hand the error to the process that waits for it."""
        return _again, (type(self), self.message, {name: getattr(self, name) for name in self.carried}, self.__cause__)


def _again(kind: type[BlueprintError], message: str, carried: dict[str, Any], cause: BaseException | None) -> Exception:
    error = kind(message, **carried)
    error.__cause__ = cause
    return error


class SidecarUnreachable(BlueprintError, ConnectionError):
    """Nobody answers at BLUEPRINT_PROXY, or what answers is not a sidecar. The only one that no sidecar says."""

    usual_reason = "sidecar_unreachable"


class BadRequest(BlueprintError):
    """The call itself is not one that can be made."""

    usual_reason = "bad_request"


class Unauthenticated(BlueprintError):
    """BLUEPRINT_PROXY_TOKEN is missing or wrong."""

    usual_reason = "unauthenticated"


class BudgetSpent(BlueprintError):
    """The run has spent its money."""

    usual_reason = "budget_spent"


class Forbidden(BlueprintError):
    """The sidecar's configuration does not let a job do this, or the credential for it is missing."""

    usual_reason = "forbidden"


class UnknownUpstream(BlueprintError):
    """The sidecar has no service of this name."""

    usual_reason = "unknown_upstream"


class JournalMiss(BlueprintError):
    """Only recorded answers may be given, and there is none."""

    usual_reason = "journal_miss"


class TooLarge(BlueprintError):
    """A body or message is over its limit."""

    usual_reason = "too_large"


class RateLimited(BlueprintError):
    """The service's rate is used up for longer than this call can wait."""

    usual_reason = "rate_limited"


class QuotaExhausted(BlueprintError):
    """The service's quota is used up until it is reset."""

    usual_reason = "quota_exhausted"


class AttemptsExhausted(BlueprintError):
    """Every attempt failed; the last answer or exception is the real one, unchanged, and this is only its reason."""

    usual_reason = "attempts_exhausted"


class UpstreamUnreachable(BlueprintError, ConnectionError):
    """No attempt brought an answer."""

    usual_reason = "upstream_unreachable"


class UpstreamTruncated(BlueprintError):
    """The answer ended before it was whole."""

    usual_reason = "upstream_truncated"


class VerificationFailed(BlueprintError):
    """What came is not what was promised: checksum or completeness."""

    usual_reason = "verification_failed"


class CircuitBreakerOpen(BlueprintError):
    """The service has failed so much that it is left alone for a while. Nothing was sent."""

    usual_reason = "breaker_open"


class Draining(BlueprintError):
    """The sidecar is shutting down and takes nothing new."""

    usual_reason = "draining"


class Overloaded(BlueprintError):
    """Too many calls wait for this service, or this one has waited too long. Nothing was sent."""

    usual_reason = "overloaded"


class NotInitialised(BlueprintError):
    """The simulator has not been initialised since it was started."""

    usual_reason = "not_initialised"


class EpochChanged(BlueprintError):
    """The simulator was restarted: what the job set up in it is gone."""

    usual_reason = "epoch_changed"


class Quarantined(BlueprintError):
    """This very request has brought the service down before."""

    usual_reason = "quarantined"


class Hung(BlueprintError):
    """The service is known to hang."""

    usual_reason = "hung"


class MaybeExecuted(BlueprintError):
    """The service may have acted, and the call may not be repeated blindly."""

    usual_reason = "maybe_executed"


class DeadlineExceeded(BlueprintError, TimeoutError):
    """The call's time is over, or would be before it could be made."""

    usual_reason = "deadline_exceeded"


class Loop(BlueprintError):
    """The request has been through this sidecar before."""

    usual_reason = "loop"


BY_REASON: dict[str, type[BlueprintError]] = {
    kind.usual_reason: kind
    for kind in (
        BadRequest, Unauthenticated, BudgetSpent, Forbidden, UnknownUpstream, JournalMiss, TooLarge, RateLimited,
        QuotaExhausted, AttemptsExhausted, UpstreamUnreachable, UpstreamTruncated, VerificationFailed,
        CircuitBreakerOpen, Draining, Overloaded, NotInitialised, EpochChanged, Quarantined, Hung, MaybeExecuted,
        DeadlineExceeded, Loop,
    )
}  # fmt: skip


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> BlueprintError:
    """Read a refusal from an answer of either listener; `headers` has lower-case names.

    The body is the sidecar's own shape or the one of Google's APIs; a reason that this release does not know gives a
    plain BlueprintError with that reason.
    """
    said = _said(body)
    reason = headers.get("x-blueprint-error") or said.get("reason")
    reason = reason if isinstance(reason, str) else ""
    message = said.get("message")
    return BY_REASON.get(reason, BlueprintError)(
        message if isinstance(message, str) else f"refused with status {status}",
        reason=reason,
        status=status,
        upstream=headers.get("x-blueprint-upstream") or said.get("upstream"),
        request_id=headers.get("x-request-id") or said.get("request_id"),
        retry_after=_seconds(said.get("retry_after_s"), headers.get("retry-after")),
        not_sent=headers.get("x-blueprint-not-sent") == "true",
        maybe_executed=headers.get("x-blueprint-maybe-executed") == "true",
        attempts=_whole(headers.get("x-blueprint-attempts")),
    )


def _said(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _seconds(precise: object, header: str | None) -> float | None:
    """Give the body's fraction where there is one: the header is rounded up to whole seconds."""
    for value in (precise, header):
        try:
            return float(value)  # type: ignore[arg-type]  # anything else is refused right here
        except (TypeError, ValueError):
            continue
    return None


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
