"""The values that flow through everything: a Call in, a Reply out, and the Verdict on an attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blueprint_proxy.bodies.request import RequestBody
    from blueprint_proxy.bodies.stream import BodyStream
    from blueprint_proxy.config import OperationSettings
    from blueprint_proxy.http1.fields import Fields
    from blueprint_proxy.policies.policy_set import PolicySet
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.telemetry.events import Try
    from blueprint_proxy.telemetry.tracing import Trace


class Verdict(StrEnum):
    """What a kind says of an attempt."""

    OK = "ok"
    RETRYABLE = "retryable"  # the upstream failed; whether to repeat is for the operation to say
    THROTTLED = "throttled"  # the upstream is well and asks for patience
    FATAL = "fatal"  # the caller's fault: another try would bring the same
    UNKNOWN = "unknown"  # it may have executed
    NOT_SENT = "not_sent"  # provably nothing left this host


class Call:
    """One request of a job. Nobody changes it once inbound has made it; a layer that needs another one copies it.

    Only these marks are made on it while it is under way: `attempts` begun so far; `sent`, false as long as provably no
    byte of it has left this host; `queued`, the seconds that it waited for the rate and for a place; `tries`, what
    became of the attempts that failed.

    `target` is the raw path and query for the upstream, beginning with a slash. `headers` are end-to-end fields only.
    `body` is the whole body, or a RequestBody that streams and, within limits, replays. `deadline` is in loop time;
    None means that nobody set one. `run` is the run that it belongs to, if any. `operation` is the kind's bounded name
    for metrics and policies; `settings` and `policies` are what is in force for it. `repeatable` says whether the
    operation may be sent twice. `public_url` is the address by which the job reached this upstream (scheme, authority
    and prefix, no trailing slash), for kinds that rewrite links. `invocation` is the same for every repeat that an SDK
    makes of one call by itself, where the SDK says so. `states_timeout` says that its fields carry a timeout, which
    goes up rewritten to what is left.
    `interim` hands a 1xx head on to the job. `trace` is the trace that the job's call belongs to, where it says so.
    """

    __slots__ = (
        "arrived", "attempts", "body", "deadline", "headers", "interim", "invocation", "method", "operation",
        "policies", "public_url", "queued", "repeatable", "request_id", "run", "sent", "settings", "states_timeout",
        "target", "trace", "tries", "upstream",
    )  # fmt: skip

    def __init__(
        self,
        *,
        upstream: str,
        operation: str,
        method: str,
        target: bytes,
        headers: Fields,
        body: bytes | RequestBody,
        settings: OperationSettings,
        policies: PolicySet,
        repeatable: bool,
        request_id: str,
        arrived: float,
        deadline: float | None = None,
        run: Run | None = None,
        public_url: bytes = b"",
        invocation: bytes | None = None,
        states_timeout: bool = False,
        interim: Callable[[int, Fields], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.upstream = upstream
        self.operation = operation
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.settings = settings
        self.policies = policies
        self.repeatable = repeatable
        self.request_id = request_id
        self.arrived = arrived
        self.deadline = deadline
        self.run = run
        self.public_url = public_url
        self.invocation = invocation
        self.states_timeout = states_timeout
        self.interim = interim
        self.trace = trace
        self.attempts = 0
        self.sent = False
        self.queued = 0.0
        self.tries: tuple[Try, ...] = ()

    def with_headers(self, headers: Fields) -> Call:
        """The same call with other fields, for an attempt."""
        copy = object.__new__(Call)
        for slot in Call.__slots__:
            setattr(copy, slot, getattr(self, slot))
        copy.headers = headers
        return copy


class Reply:
    """An answer: from the upstream, or one this proxy kept.

    `body` is whole when it is bytes; a BodyStream is still coming. `framed` says that `headers` hold a Content-Length
    that is right for it. `rejected` says that it refuses the credential which this proxy put in, `repeat_forbidden`
    that the upstream must not be asked again. `error` is the contract's reason where this proxy gave up on a call whose
    last real answer this is.
    """

    __slots__ = (
        "attempts",
        "body",
        "error",
        "framed",
        "headers",
        "minor",
        "reason",
        "rejected",
        "repeat_forbidden",
        "retry_after",
        "source",
        "status",
        "verdict",
    )

    def __init__(
        self,
        status: int,
        headers: Fields,
        body: bytes | BodyStream,
        *,
        reason: bytes = b"",
        source: str = "upstream",
        framed: bool = False,
        minor: int = 1,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.source = source
        self.framed = framed
        self.minor = minor
        self.verdict = Verdict.OK
        self.retry_after: float | None = None
        self.attempts = 1
        self.error: str | None = None
        self.rejected = False
        self.repeat_forbidden = False


Next = Callable[[Call], Awaitable[Reply]]
"""The one shape of a layer, a pipeline, a transport and a fake."""
