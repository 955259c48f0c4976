"""One upstream at run time: from a request's head to a Call, and the state that its calls share.

A little over 300 lines: which policies a call meets is decided where the call is made, from the same settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import unquote_to_bytes

from blueprint_proxy.bodies.request import RequestBody
from blueprint_proxy.calls import Call
from blueprint_proxy.config import Timeouts
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.policies.breaker import Breaker, Cause
from blueprint_proxy.policies.budget import RetryBudget
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.deadline import earliest, grpc_timeout, server_timeout, timeout_ms
from blueprint_proxy.policies.policy_set import PolicySet
from blueprint_proxy.policies.rate import TokenBucket
from blueprint_proxy.policies.retry import RetryPolicy
from blueprint_proxy.telemetry import tracing
from blueprint_proxy.telemetry.events import BodyNotReplayable, BreakerChanged, SpoolFailed, WouldHave

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from blueprint_proxy.bodies.stream import Flow
    from blueprint_proxy.calls import Reply
    from blueprint_proxy.config import BreakerSettings, OperationSettings, UpstreamSettings
    from blueprint_proxy.http1.fields import Fields
    from blueprint_proxy.http1.heads import RequestHead
    from blueprint_proxy.outbound.pool import Pool
    from blueprint_proxy.pipeline import Pipelines
    from blueprint_proxy.policies.breaker import Change
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.telemetry.stream import Telemetry
    from blueprint_proxy.upstreams.kind import Kind

_Policy = TypeVar("_Policy", Breaker, RetryBudget, Concurrency, TokenBucket)

REMEMBERED = 1024
"""Operation names looked up once: jobs may make them up, so their number has a bound."""

UNHURRIED = Timeouts(connect=127.0, first_byte=None, idle=None, attempt=None)
"""Seconds. Where the mode is not to enforce, nothing is cut that the upstream would have answered.

Linux gives up on a connection after 127 s by itself.
"""

_PARSERS: tuple[tuple[bytes, Callable[[bytes], float]], ...] = (
    (b"x-server-timeout", server_timeout),
    (b"grpc-timeout", grpc_timeout),
)


class Upstream:
    """What serves the calls to one configured upstream.

    Policies live as long as the upstream's settings for them: `earlier` is the upstream of this name from before a
    reload, whose policies are taken over where nothing about them has changed. `drops_credentials` holds the lower-case
    names of the fields by which a job would bring its own credential; None where the job's own is the one that is used.
    `answers_only`: a function that calls this service may be run twice, as far as the kind is concerned.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        kind: Kind,
        pipelines: Pipelines,
        pool: Pool,
        *,
        telemetry: Telemetry,
        now: Callable[[], float],
        spool: Path,
        drops_credentials: frozenset[bytes] | None,
        answers_only: bool = False,
        earlier: Upstream | None = None,
    ) -> None:
        self.name = settings.name
        self.answers_only = answers_only
        self.settings = settings
        self.kind = kind
        self.pipelines = pipelines
        self.pool = pool
        self._emit = telemetry.emit
        self._now = now
        self._spool = spool
        self._drops_credentials = drops_credentials
        self._by_operation: dict[str, tuple[OperationSettings, PolicySet]] = {}
        self._by_settings: dict[int, tuple[OperationSettings, OperationSettings, PolicySet]] = {}
        self.stateful: dict[tuple[str, str], tuple[object, Breaker | RetryBudget | Concurrency | TokenBucket]] = {}
        # What no call has asked for since the last reload is still there for the one that will.
        self.inherited: dict[tuple[str, str], tuple[object, Breaker | RetryBudget | Concurrency | TokenBucket]] = {}
        if earlier is not None:
            self.inherited = {**earlier.inherited, **earlier.stateful}
        self._look_up("", "", b"/")  # so that the upstream's own policies are there before the first call

    def send(self, call: Call) -> Awaitable[Reply]:
        """Through the pipeline of the call's mode."""
        return self.pipelines.relay(call) if call.settings.mode == "off" else self.pipelines.guard(call)

    def send_function(self, call: Call) -> Awaitable[Reply]:
        """Through the same policies, for a call that its job makes itself."""
        pipelines = self.pipelines
        return pipelines.relay_function(call) if call.settings.mode == "off" else pipelines.guard_function(call)

    def in_force(self, operation: str) -> tuple[OperationSettings, PolicySet]:
        """Settings and policies of an operation that is known by its name alone."""
        return self._by_operation.get(operation) or self._look_up(operation, "", b"")

    def call(
        self,
        head: RequestHead,
        target: bytes,
        whole: bytes | None,
        flow: Flow,
        *,
        request_id: str,
        run: Run | None,
        public_url: bytes,
        interim: Callable[[int, Fields], None] | None,
    ) -> Call:
        """The Call that `head` asks for at `target`; Refusal for a bad field of ours or a body over the limit.

        `whole` is the body if all of it came with the head (b"" where there is none), None if it is still to come.
        """
        now = self._now()
        operation = self.kind.operation(head, target)
        known = self._by_operation.get(operation.name)
        if known is None:
            known = self._look_up(operation.name, head.method, target)
        settings, policies = known
        repeatable = operation.repeatable
        if settings.operation_class is not None:
            repeatable = settings.operation_class != "unsafe"
        headers = head.fields
        if self._drops_credentials is not None:
            if headers.get(b"origin") is not None:
                raise Refusal(
                    Reason.FORBIDDEN,
                    f"a web page's request (it has an Origin) may not spend the credential of upstream {self.name}",
                    sent=False,
                )
            headers = headers.without(self._drops_credentials)
            target = _without_parameters(target, self.kind.credential_parameters)
        enforcing = settings.mode == "enforce"
        deadline = None if settings.mode == "off" else settings.deadline
        stated = False
        traceparent = head.noted.get(tracing.HEADER) if head.noted else None
        if (head.own or head.noted) and settings.mode != "off":
            asked, stated = self._stated_timeout(head, operation.name, request_id, enforcing=enforcing)
            deadline = earliest(deadline, asked)
        until = None if deadline is None else now + deadline
        if run is not None and settings.mode != "off":
            until = earliest(until, run.deadline)
        call = Call(
            upstream=self.name,
            operation=operation.name,
            method=head.method,
            target=target,
            headers=headers,
            body=b"",
            settings=settings,
            policies=policies,
            repeatable=repeatable,
            request_id=request_id,
            arrived=now,
            deadline=until,
            run=run,
            public_url=public_url,
            invocation=operation.invocation,
            states_timeout=stated and enforcing,
            interim=interim,
            trace=None if traceparent is None else tracing.parse(traceparent),
        )
        limit = settings.body.limit
        if limit is not None and head.length is not None and head.length > limit and settings.mode != "off":
            if enforcing:
                raise Refusal(
                    Reason.TOO_LARGE,
                    f"a request body of {head.length} bytes; upstream {self.name} takes {limit}",
                    sent=False,
                )
            self._emit(WouldHave(self.name, operation.name, request_id, Reason.TOO_LARGE.value))
        call.body = whole if whole is not None else self._streamed(call, head, flow)
        return call

    def tick(self, now: float) -> None:
        """Lets the breakers see the age of their calls in flight."""
        for _, policy in self.stateful.values():
            if isinstance(policy, Breaker):
                policy.tick(now)

    async def quiet(self) -> None:
        """Return when nothing is at the upstream that outlives its call."""

    async def end(self) -> None:
        """For good: nothing of it goes on by itself any more."""

    def breakers(self) -> dict[str, Breaker]:
        """By owner: "" is the upstream's own, else the pattern that configured it."""
        return {owner: policy for (_, owner), (_, policy) in self.stateful.items() if isinstance(policy, Breaker)}

    def forget_holds(self) -> None:
        """Lets calls go again that a 429 made wait."""
        for _, policy in self.stateful.values():
            if isinstance(policy, TokenBucket):
                policy.reset()

    @property
    def queued(self) -> int:
        """Calls that wait for a place."""
        return sum(policy.queued for _, policy in self.stateful.values() if isinstance(policy, Concurrency))

    def _streamed(self, call: Call, head: RequestHead, flow: Flow) -> RequestBody:
        body = call.settings.body
        enforcing = call.settings.mode == "enforce"
        keeps = enforcing and call.settings.retry.attempts > 1 and call.repeatable
        # A refused credential is renewed and the call sent once more, whatever it is: a small body is kept for that.
        memory = body.memory if keeps or (enforcing and self._drops_credentials is not None) else 0

        # Names, not the call: it holds the body, and the two would wait for the garbage collector.
        operation, request_id = call.operation, call.request_id

        def lost(why: str, received: int) -> None:
            why, _, detail = why.partition(": ")
            if detail:
                self._emit(SpoolFailed(detail))
            self._emit(BodyNotReplayable(self.name, operation, request_id, why, received))

        return RequestBody(
            flow,
            head.length,
            memory=memory,
            spool=body.spool if keeps else 0,
            directory=self._spool if keeps else None,
            on_lost=lost if keeps else None,
            expects_continue=head.expect_continue,
            limit=body.limit if enforcing else None,
        )

    def _stated_timeout(
        self, head: RequestHead, operation: str, request_id: str, *, enforcing: bool
    ) -> tuple[float | None, bool]:
        try:
            return _stated_timeout(head)
        except ValueError as problem:
            if enforcing:
                raise Refusal(Reason.BAD_REQUEST, str(problem), sent=False) from problem
            self._emit(WouldHave(self.name, operation, request_id, Reason.BAD_REQUEST.value))
            return None, False

    def _look_up(self, operation: str, method: str, target: bytes) -> tuple[OperationSettings, PolicySet]:
        """Settings and policies; remembered by the operation's name, unless paths have a say too."""
        paths = self.settings.has_path_patterns
        path = target.partition(b"?")[0].decode("latin-1") if paths else ""
        settings = self.settings.for_operation(operation, method, path)
        found = self._by_settings.get(id(settings))
        if found is None or found[0] is not settings:
            in_force = settings if settings.mode == "enforce" else replace(settings, timeouts=UNHURRIED)
            found = self._by_settings[id(settings)] = (settings, in_force, self._policies(settings))
        known = found[1:]
        if not paths and len(self._by_operation) < REMEMBERED:
            self._by_operation[operation] = known
        return known

    def _policies(self, settings: OperationSettings) -> PolicySet:
        retry, budget, rate, concurrency = settings.retry, settings.retry_budget, settings.rate, settings.concurrency
        breaker = self._breaker_settings(settings.breaker)
        owners = settings.owners
        return PolicySet(
            retry=RetryPolicy(retry.attempts, retry.base, retry.cap, retry.on),
            budget=self._shared("retry_budget", owners, budget, lambda: RetryBudget(budget.ratio, budget.min)),
            breaker=self._shared("breaker", owners, breaker, lambda: self._breaker(settings)),
            rate=self._shared("rate", owners, rate, lambda: TokenBucket(rate.per_second, rate.burst)),
            concurrency=self._shared(
                "concurrency", owners, concurrency, lambda: Concurrency(concurrency.limit, concurrency.queue)
            ),
            observing=settings.mode == "observe",
        )

    def _shared(self, name: str, owners: Mapping[str, str], settings: object, make: Callable[[], _Policy]) -> _Policy:
        """The policy of this owner: today's, or the one from before a reload if it was configured the same."""
        key = (name, owners[name])
        for held in (self.stateful, self.inherited):
            known = held.get(key)
            if known is not None and known[0] == settings:
                self.stateful[key] = known
                return cast("_Policy", known[1])
        policy = make()
        self.stateful[key] = (settings, policy)
        return policy

    def _breaker_settings(self, settings: BreakerSettings) -> BreakerSettings:
        """Those of the breaker of an operation with these settings."""
        return settings

    def _breaker(self, settings: OperationSettings) -> Breaker:
        of, owner = self._breaker_settings(settings.breaker), settings.owners["breaker"]

        def changed(change: Change) -> None:
            if change.why is Cause.AGE:
                held = self.stateful.get(("concurrency", settings.owners["concurrency"]))
                if held is not None and isinstance(held[1], Concurrency):
                    held[1].new_era()  # the calls that hang keep nobody else out any more
            self._emit(
                BreakerChanged(
                    self.name, owner, change.old.value, change.new.value, change.why.value, change.retry_after
                )
            )

        return Breaker(
            window=of.window,
            min_calls=of.min_calls,
            failure_ratio=of.failure_ratio,
            slow_call=of.slow_call,
            slow_ratio=of.slow_ratio,
            consecutive=of.consecutive,
            age=of.age,
            open_for=of.open,
            open_cap=of.open_cap,
            probes=of.probes,
            probe_lease=of.probe_lease,
            on_change=changed,
        )


def _stated_timeout(head: RequestHead) -> tuple[float | None, bool]:
    """The smallest timeout that the job's fields state, in seconds, and whether one of them goes up rewritten.

    ValueError for one that cannot be read.
    """
    asked: float | None = None
    rewritten = False
    own = head.own.get(b"x-blueprint-timeout-ms")
    if own is not None:
        asked = timeout_ms(own)
    for name, parse in _PARSERS:
        value = head.noted.get(name)
        if value is not None:
            asked = earliest(asked, parse(value))
            rewritten = True
    return asked, rewritten


def _without_parameters(target: bytes, names: frozenset[bytes]) -> bytes:
    """The target without the query parameters of these names, escaped or not; untouched where there are none."""
    path, mark, query = target.partition(b"?")
    if not mark or not names:
        return target
    pairs = query.split(b"&")
    kept = [pair for pair in pairs if unquote_to_bytes(pair.partition(b"=")[0]) not in names]
    if len(kept) == len(pairs):
        return target
    return path + b"?" + b"&".join(kept) if kept else path
