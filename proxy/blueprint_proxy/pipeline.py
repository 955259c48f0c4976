"""The one ordered list of layers. Read it from the top: the first line is what a call meets first."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from blueprint_proxy.guard.function import at_the_job
from blueprint_proxy.layers.admission import AdmitAttempts
from blueprint_proxy.layers.attempt import MakeAttempt
from blueprint_proxy.layers.breaking import BreakCircuits
from blueprint_proxy.layers.credentials import InjectCredential, RenewCredential
from blueprint_proxy.layers.deadline import KeepDeadline
from blueprint_proxy.layers.links import LeadLinksBack
from blueprint_proxy.layers.recording import RecordCalls
from blueprint_proxy.layers.relaying import RelayOnce
from blueprint_proxy.layers.repeats import AnswerRepeats
from blueprint_proxy.layers.retrying import RetryFailures

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.calls import Next
    from blueprint_proxy.secrets.credential import Credential
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry
    from blueprint_proxy.upstreams.kind import Judging
    from blueprint_proxy.upstreams.links import Links

    Wrap = Callable[[Next], Next]


def compose(layers: list[Wrap | None], transport: Next) -> Next:
    """The transport inside of all layers, the first one outermost. None stands for a layer that this upstream lacks."""
    following = transport
    for wrap in reversed(layers):
        if wrap is not None:
            following = wrap(following)
    return following


class Pipelines:
    """The two ways through one upstream's layers: all of them, or, with `mode: off`, those that only relay.

    Each once more for the functions that a job runs itself, by the same policies: `guard_function`, `relay_function`.

    `resources` are the operations whose replies are documents with links; `repeats_known` says that the kind's SDK
    names its repeats. `make_attempt` is the layer around the transport: MakeAttempt, or for gRPC MakeRpcAttempt. A
    stream of gRPC meets the same layers: it is never `repeatable`, so that only one that was provably not sent is tried
    again, and its verdict comes at its end.
    """

    def __init__(
        self,
        transport: Next,
        *,
        kind: Judging,
        telemetry: Telemetry,
        sweep: Sweep,
        credential: Credential | None,
        links: Links | None,
        resources: frozenset[str],
        repeats_known: bool,
        make_attempt: Callable[..., Next] = MakeAttempt,
        chance: Callable[[], float] = random.random,  # noqa: S311 -- jitter, no secret
    ) -> None:
        now = sweep.now
        attempt = partial(make_attempt, kind=kind, now=now)
        inject = partial(InjectCredential, credential=credential) if credential is not None else None
        renew = partial(RenewCredential, credential=credential, telemetry=telemetry) if credential is not None else None
        lead_back = partial(LeadLinksBack, links=links, resources=resources) if links is not None else None
        guarded: list[Wrap | None] = [
            # outside the deadline and the retries: an SDK's repeat of what was given up must not be tried again
            partial(AnswerRepeats, telemetry=telemetry, now=now) if repeats_known else None,
            # covers all attempts and every wait between them
            partial(KeepDeadline, telemetry=telemetry, sweep=sweep),
            # outside admission and breaker: every attempt asks for leave anew, and a wait holds no place
            partial(RetryFailures, telemetry=telemetry, now=now, chance=chance),
            # outside admission and breaker: a wait for a secret holds no place and ages no permit; inside the retries:
            # a repeat with a new key is none of theirs
            renew,
            # outside the breaker: what waits for its turn is not at the upstream yet, and says nothing about it
            partial(AdmitAttempts, telemetry=telemetry, sweep=sweep, chance=chance),
            # inside the retries, so that each attempt counts; its refusal is no UpstreamError and is never repeated
            partial(BreakCircuits, telemetry=telemetry, now=now),
            # inside breaker and retry: a document that is cut short while it is read is a failed attempt
            lead_back,
            # as far in as can be: no layer outside can log what it never saw
            inject,
            partial(attempt, signed=credential is not None),
        ]
        # outermost: sees every call once, whatever happens inside
        self._record = RecordCalls(compose(guarded, transport), telemetry=telemetry, now=now)
        relaying = compose([RelayOnce, lead_back, inject, partial(attempt, relaying=True)], transport)
        self._record_relayed = RecordCalls(relaying, telemetry=telemetry, now=now)
        by_the_job: list[Wrap | None] = [
            partial(KeepDeadline, telemetry=telemetry, sweep=sweep),
            partial(RetryFailures, telemetry=telemetry, now=now, chance=chance),
            partial(AdmitAttempts, telemetry=telemetry, sweep=sweep, chance=chance),
            # a function may well be long and healthy: its permit's end is what tells a hang
            partial(BreakCircuits, telemetry=telemetry, now=now, aged=False),
            # nothing is sent, so nothing is signed, rewritten or read
        ]
        self._record_functions = RecordCalls(compose(by_the_job, at_the_job), telemetry=telemetry, now=now)
        self._record_unguarded = RecordCalls(RelayOnce(at_the_job), telemetry=telemetry, now=now)
        self.guard: Next = self._record
        self.relay: Next = self._record_relayed
        self.guard_function: Next = self._record_functions
        self.relay_function: Next = self._record_unguarded

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended, those with a body on its way included."""
        return (
            self._record.in_flight
            + self._record_relayed.in_flight
            + self._record_functions.in_flight
            + self._record_unguarded.in_flight
        )
