"""What can go wrong with a call, as a small tree.

A `Refusal` is this proxy's own word to the job: it has a reason and a status from the contract's table below, and
inbound/answers.py is the one place that turns it into an answer. An `UpstreamError` is what an attempt met; only
these are ever considered for a retry, and the retry layer turns the last one into a Refusal.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The contract's reasons, as they stand in `x-blueprint-error`."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    BUDGET_SPENT = "budget_spent"
    FORBIDDEN = "forbidden"
    UNKNOWN_UPSTREAM = "unknown_upstream"
    JOURNAL_MISS = "journal_miss"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TRUNCATED = "upstream_truncated"
    VERIFICATION_FAILED = "verification_failed"
    BREAKER_OPEN = "breaker_open"
    DRAINING = "draining"
    OVERLOADED = "overloaded"
    NOT_INITIALISED = "not_initialised"
    EPOCH_CHANGED = "epoch_changed"
    QUARANTINED = "quarantined"
    HUNG = "hung"
    MAYBE_EXECUTED = "maybe_executed"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    LOOP = "loop"


STATUSES: dict[Reason, tuple[int, str]] = {
    Reason.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    Reason.UNAUTHENTICATED: (401, "UNAUTHENTICATED"),
    Reason.BUDGET_SPENT: (402, "RESOURCE_EXHAUSTED"),
    Reason.FORBIDDEN: (403, "PERMISSION_DENIED"),
    Reason.UNKNOWN_UPSTREAM: (404, "UNIMPLEMENTED"),
    Reason.JOURNAL_MISS: (404, "NOT_FOUND"),
    Reason.TOO_LARGE: (413, "RESOURCE_EXHAUSTED"),
    Reason.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED"),
    Reason.QUOTA_EXHAUSTED: (429, "RESOURCE_EXHAUSTED"),
    Reason.UPSTREAM_UNREACHABLE: (502, "UNAVAILABLE"),
    Reason.UPSTREAM_TRUNCATED: (502, "UNAVAILABLE"),
    Reason.VERIFICATION_FAILED: (502, "DATA_LOSS"),
    Reason.ATTEMPTS_EXHAUSTED: (502, "UNAVAILABLE"),
    Reason.BREAKER_OPEN: (503, "UNAVAILABLE"),
    Reason.DRAINING: (503, "UNAVAILABLE"),
    Reason.OVERLOADED: (503, "UNAVAILABLE"),
    Reason.NOT_INITIALISED: (503, "FAILED_PRECONDITION"),
    Reason.EPOCH_CHANGED: (503, "FAILED_PRECONDITION"),
    Reason.QUARANTINED: (503, "FAILED_PRECONDITION"),
    Reason.HUNG: (503, "UNAVAILABLE"),
    Reason.MAYBE_EXECUTED: (503, "UNKNOWN"),
    Reason.DEADLINE_EXCEEDED: (504, "DEADLINE_EXCEEDED"),
    Reason.LOOP: (508, "FAILED_PRECONDITION"),
}
"""The contract's HTTP status and gRPC status name of every reason."""


class ProxyError(Exception):
    """Anything this proxy says about a call."""


class Refusal(ProxyError):
    """The proxy answers in the upstream's place.

    `status` is the HTTP status that the job sees: the reason's own, unless the contract names another one (405, 414,
    421, 431).
    `retry_after` is in seconds. `sent`: False = nothing left this host, True = the upstream may have acted, None =
    not known or not applicable. `attempts` counts the tries made before giving up. `final`: the proxy has done what it
    may for this call, and an SDK's own repeat of it would only multiply that.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        sent: bool | None = None,
        attempts: int = 0,
        final: bool = False,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = STATUSES[reason][0] if status is None else status
        self.retry_after = retry_after
        self.sent = sent
        self.attempts = attempts
        self.final = final
        self.headers = headers


class Fault(StrEnum):
    """How an attempt failed without a reply: the words of `retry.on`."""

    CONNECT = "connect"
    RESET = "reset"
    TIMEOUT = "timeout"


class UpstreamError(ProxyError):
    """An attempt that brought no whole reply.

    `sent`: False when it is proven that no byte of the request left, True when the upstream may have acted on it.
    """

    fault = Fault.RESET

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent


class UpstreamUnreachable(UpstreamError):
    """No connection: refused, no such name, TLS failed. Never sent."""

    fault = Fault.CONNECT

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class AttemptTimedOut(UpstreamError):
    """A phase of the attempt (connect, first_byte, idle, attempt) took longer than its limit."""

    fault = Fault.TIMEOUT

    def __init__(self, phase: str, limit: float, *, sent: bool) -> None:
        super().__init__(f"the upstream's {phase} timeout of {limit:g} s ran out", sent=sent)
        self.phase = phase


class UpstreamBroke(UpstreamError):
    """The connection ended, or what came was not HTTP, before the reply's head was whole."""


class UpstreamTruncated(UpstreamError):
    """The reply's body ended before its framing said so. Its head may already be with the job."""


class JobLeft(ProxyError):
    """The job closed its connection before it had the whole reply."""
