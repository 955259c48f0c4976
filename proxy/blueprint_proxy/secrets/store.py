"""Every secret that the configuration names: loaded together, refreshed, and kept while its place cannot be asked."""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from blueprint_proxy.config import SecretManagerSettings, quieten_grpc
from blueprint_proxy.errors import ProxyError
from blueprint_proxy.secrets.held import HeldSecret
from blueprint_proxy.secrets.looking import Answer, NotFound, fingerprints, look_at_all
from blueprint_proxy.secrets.reporting import SecretsReport
from blueprint_proxy.telemetry.events import (
    SecretChanged,
    SecretHandedOut,
    SecretManagerUnused,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from blueprint_proxy.config import Config, CredentialSource, Secret, SecretPlace
    from blueprint_proxy.secrets.looking import Fingerprint
    from blueprint_proxy.telemetry.events import Event

WATCH = 0.5
"""Seconds between two looks at the files' versions: a change is taken within about a second."""
NO_PROJECT = "no project is known: set secret_manager.project or GOOGLE_CLOUD_PROJECT"


class Asked(Protocol):
    """Secret Manager, or a test's stand-in."""

    async def access(self, names: Collection[str]) -> dict[str, Answer]:
        """Give an answer for each name (`ID` or `ID@N`), and no error."""

    async def close(self) -> None:
        """End the connection."""


class SecretMissing(ProxyError):
    """A secret that jobs may read is in none of its places."""


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A secret for a job. `version` is the number in Secret Manager, `source` the place: neither is a secret."""

    value: Secret
    version: str | None
    source: str


class SecretStore:
    """`put_in_force` says what is needed, `run` does the work; everything else only looks at what is held.

    `now` is loop time. `on_secret` hears of every value before it is used. `open_manager` brings up Secret Manager.
    """

    def __init__(
        self,
        *,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        chance: Callable[[], float],
        on_secret: Callable[[Secret], None],
        open_manager: Callable[[SecretManagerSettings, Callable[[], float]], Awaitable[Asked]] | None = None,
    ) -> None:
        self._emit = emit
        self._now = now
        self._chance = chance
        self._on_secret = on_secret
        self._open_manager = open_manager or _import_secret_manager
        self._refresh = 600.0
        self._settings = SecretManagerSettings()
        self._manager: Asked | None = None
        self._opened_for = self._settings
        self._opening = asyncio.Lock()
        self._held: dict[tuple[SecretPlace, ...], HeldSecret] = {}
        self._needed: list[HeldSecret] = []
        self._for_jobs: dict[str, HeldSecret] = {}
        self._files: dict[str, Fingerprint] = {}
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._noted = False
        self._report = SecretsReport(emit)

    def __repr__(self) -> str:
        return f"SecretStore({self._needed})"

    # what others ask for

    def held(self, source: CredentialSource) -> HeldSecret:
        """The secret of these places: the same object for as long as a configuration in force names them."""
        held = self._held.get(source.places)
        if held is None:
            held = self._held[source.places] = HeldSecret(source)
        return held

    def put_in_force(self, config: Config) -> None:
        """Keep what `config` still names, with its values, and load what it names anew."""
        sources = [upstream.credential for upstream in config.upstreams.values() if upstream.served]
        needed = {source.places: self.held(source) for source in sources if source is not None}
        self._for_jobs = {name: self.held(source) for name, source in config.jobs.secrets.items()}
        needed |= {held.source.places: held for held in self._for_jobs.values()}
        self._held = needed
        self._needed = list(needed.values())
        if config.secrets.refresh != self._refresh:
            self._refresh = config.secrets.refresh
            for held in self._needed:
                held.due = min(held.due, self._now() + self._refresh)
        if config.secret_manager != self._settings:
            self._settings = config.secret_manager
            for held in self._needed:
                held.due = float("-inf")
        self._report.forget()
        self._wake.set()

    async def renew(self, held: HeldSecret, rejected: Secret) -> bool:
        """An upstream does not take the value `rejected`: whether there is another one now.

        All that complain at once wait for one look, and what has been looked at a moment ago is not looked at again.
        """
        if _is_newer(held, rejected):
            return True
        if held.flight is None and self._now() >= held.early and self._group is not None:
            self._start([held], early=True)
        if held.flight is not None:
            await asyncio.wait([held.flight])
        return _is_newer(held, rejected)

    async def for_job(self, name: str) -> HandedOut:
        """The secret `name` for a job. LookupError: not one of jobs.secrets; SecretMissing: in none of its places."""
        held = self._for_jobs.get(name)
        if held is None:
            raise LookupError(f"jobs may not read {name!r}: it is not in jobs.secrets")
        await held.loaded.wait()
        if held.value is None:
            raise SecretMissing(f"{name} is missing: looked in {held.why}")
        self._emit(SecretHandedOut(name, held.origin))
        return HandedOut(held.value, held.version, held.origin)

    # the work

    async def run(self) -> None:
        """Load, then refresh, until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                first = True
                while True:
                    due = [held for held in self._needed if held.flight is None and held.due <= self._now()]
                    due += await self._with_changed_files(due)
                    due = [held for held in due if held.flight is None]  # an upstream may have complained meanwhile
                    if due:
                        self._start(due, first=first)
                        first = False
                    await self._pause()
        finally:
            self._group = None
            if self._manager is not None:
                await self._manager.close()

    async def _pause(self) -> None:
        """Wait for the next look, or for a new configuration."""
        until = min((held.due for held in self._needed if held.flight is None), default=float("inf"))
        if self._files:
            until = min(until, self._now() + WATCH)
        self._wake.clear()
        try:
            async with asyncio.timeout(None if until == float("inf") else max(until - self._now(), 0.01)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _with_changed_files(self, due: list[HeldSecret]) -> list[HeldSecret]:
        """Those besides `due` of which a file has changed that may matter."""
        files = {place.name for held in self._needed for place in held.source.places if place.kind == "file"}
        seen = await asyncio.to_thread(fingerprints, files) if files else {}
        changed = {file for file in seen if file in self._files and self._files[file] != seen[file]}
        touched = [held for held in self._needed if held not in due and changed & set(_files_that_matter(held))]
        for held in touched:
            if held.flight is not None:  # it may have been read just before: the change is found again once it is over
                seen |= {file: self._files[file] for file in changed & set(_files_that_matter(held))}
        self._files = seen
        return [held for held in touched if held.flight is None]

    def _start(self, due: list[HeldSecret], *, first: bool = False, early: bool = False) -> None:
        """Begin one look at all of `due`, in a task that no caller's end can cancel."""
        if self._group is None:
            raise RuntimeError("the store looks only while it runs")
        for held in due:
            held.flight = asyncio.get_running_loop().create_future()
        self._group.create_task(self._look(due, first=first, early=early))

    async def _look(self, due: list[HeldSecret], *, first: bool, early: bool) -> None:
        """Where files and variables decide, that is all: Secret Manager may be slow, and is no matter of theirs."""
        waiting = due
        try:
            local = {place for held in due for place in held.source.places if place.kind != "secret_manager"}
            answers = await asyncio.to_thread(look_at_all, local) if local else {}
            asks = {held: held.to_ask(answers) for held in due}
            moved = self._settle([held for held in due if asks[held] is None], answers, early=early)
            waiting = [held for held in due if asks[held] is not None]
            if waiting:
                remote = {place.name: place for place in asks.values() if place is not None}
                answers |= await self._asked_for(remote)
                moved += self._settle(waiting, answers, early=early)
                waiting = []
        finally:
            for held in waiting:  # not the others: by now they may be in another look
                held.land()
            self._wake.set()
        for held in [] if first else moved:
            if held.value is not None:
                self._emit(SecretChanged(held.id, held.origin, early))
        self._report.tell(self._needed, self._now(), refresh=self._refresh, first=first)

    def _settle(
        self, looked_at: list[HeldSecret], answers: dict[SecretPlace, Answer], *, early: bool
    ) -> list[HeldSecret]:
        """Take what was found. Returns those of which the value or its place is another one now."""
        now = self._now()
        moved: list[HeldSecret] = []
        for held in looked_at:
            before = held.value, held.origin
            held.settle(answers, now)
            if held.value is not None and held.value != before[0]:
                self._on_secret(held.value)
            if (held.value, held.origin) != before:
                moved.append(held)
            held.plan(now, self._refresh, self._chance(), renewed=held.value != before[0], early=early)
            held.loaded.set()
            held.land()
        self._wake.set()
        return moved

    async def _asked_for(self, remote: dict[str, SecretPlace]) -> dict[SecretPlace, Answer]:
        manager = await self._asked()
        if manager is None:
            if not self._noted:
                self._noted = True
                self._emit(SecretManagerUnused(NO_PROJECT))
            return dict.fromkeys(remote.values(), NotFound(NO_PROJECT))
        found = await manager.access(remote)
        return {place: found[name] for name, place in remote.items()}

    async def _asked(self) -> Asked | None:
        """Secret Manager as it is configured now; None where no project is known."""
        async with self._opening:
            if self._manager is not None and self._opened_for != self._settings:
                manager, self._manager = self._manager, None
                await manager.close()
            if self._manager is None and self._settings.project is not None:
                self._opened_for = self._settings
                self._manager = await self._open_manager(self._settings, self._chance)
            return self._manager


def _is_newer(held: HeldSecret, than: Secret) -> bool:
    return held.value is not None and held.value != than


def _files_that_matter(held: HeldSecret) -> Iterator[str]:
    """Files of the places down to the one that the value is from: what stands below cannot change it."""
    for place in held.source.places:
        if place.kind == "file":
            yield place.name
        if place == held.place:
            return


async def _import_secret_manager(settings: SecretManagerSettings, chance: Callable[[], float]) -> Asked:
    quieten_grpc()
    module = await asyncio.to_thread(importlib.import_module, "blueprint_proxy.secrets.secret_manager")
    manager: Asked = module.SecretManager(settings, chance=chance)
    return manager
