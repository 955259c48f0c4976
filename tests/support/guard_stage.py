"""A guard over one upstream, `it`, whose policies the test chooses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from blueprint_proxy.guard.permits import Asked, Guard
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.upstreams.http import HttpKind
from support.scripted_upstream import Heard, ScriptedUpstream, pipelines, policies, settings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.calls import Call, Reply
    from blueprint_proxy.config import OperationSettings
    from blueprint_proxy.guard.function import Ended, HandedOut, Told
    from blueprint_proxy.policies.policy_set import PolicySet


class OneUpstream:
    """What a Guard asks of an Upstream."""

    name = "it"
    kind = HttpKind()

    def __init__(self, heard: Heard, given: PolicySet, of: OperationSettings, *, answers_only: bool) -> None:
        self.answers_only = answers_only
        self.policies = given
        self.settings = of
        self.proxied = ScriptedUpstream()
        self.pipelines = pipelines(self.proxied, heard)

    def in_force(self, _operation: str) -> tuple[OperationSettings, PolicySet]:
        return self.settings, self.policies

    def send_function(self, call: Call) -> Awaitable[Reply]:
        off = self.settings.mode == "off"
        return self.pipelines.relay_function(call) if off else self.pipelines.guard_function(call)


class Staged:
    """A guard under test. Everything is made inside the running loop, so that time is virtual."""

    def __init__(
        self, *, answers_only: bool = False, most: int = 100, runs: Any = None, of: dict[str, Any] | None = None,
        **given: object,
    ) -> None:  # fmt: skip
        self.heard = Heard()
        self.policies = policies(**given)
        self.upstream = OneUpstream(
            self.heard, self.policies, replace(settings(), **(of or {})), answers_only=answers_only
        )
        self.guard = Guard(
            {b"it": self.upstream},  # type: ignore[dict-item]
            telemetry=self.heard.telemetry,
            sweep=Sweep(asyncio.get_running_loop()),
            most=most,
            **({} if runs is None else {"run_of": runs}),
        )

    async def ask(self, name: str = "it", **given: Any) -> HandedOut | Ended:
        return await self.guard.ask(name, Asked(**{"operation": "f", "request_id": "r-1", **given})).turn()

    async def settle(self, permit: str, told: Told, name: str = "it") -> HandedOut | Ended:
        return await self.guard.settle(name, permit, told).turn()

    def assert_nothing_is_left(self) -> None:
        assert (self.guard.in_flight, self.guard.permits, self.upstream.pipelines.in_flight) == (0, 0, 0)
        one = self.policies
        assert (one.concurrency.active, one.concurrency.queued, one.breaker.in_flight) == (0, 0, 0)
