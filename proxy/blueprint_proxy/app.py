"""The composition root: builds every object, opens the listeners, and ends them in order.

Data first: the listeners are open before anything heavy is imported, and close before anything else ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import random
import secrets
import signal
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from blueprint_proxy.admin.event_streams import EventStreams
from blueprint_proxy.config import ConfigError, load, read_secret
from blueprint_proxy.guard.permits import Guard
from blueprint_proxy.inbound.listener import Listener
from blueprint_proxy.listening import BACKLOG, ListeningSocket, authorities, tls_context
from blueprint_proxy.overview import Overview
from blueprint_proxy.runs.registry import Runs
from blueprint_proxy.secrets.store import SecretStore
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.telemetry.call_log import CallLog
from blueprint_proxy.telemetry.call_log_reading import CALLS
from blueprint_proxy.telemetry.events import (
    ConfigurationLoaded,
    ConfigurationRejected,
    Draining,
    Listening,
    NotHardened,
    Stopped,
)
from blueprint_proxy.telemetry.exposition import Exposition
from blueprint_proxy.telemetry.logs import Logs, StandardLogging
from blueprint_proxy.telemetry.metrics import Metrics
from blueprint_proxy.telemetry.redaction import Redactor
from blueprint_proxy.telemetry.stream import Telemetry
from blueprint_proxy.upstreams.building import Surroundings, build
from blueprint_proxy.upstreams.geniesim.upstream import GenieSimUpstream
from blueprint_proxy.upstreams.rpc_upstream import RpcUpstream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from blueprint_proxy.config import Address, Config, Secret, SecretSource, UpstreamSettings
    from blueprint_proxy.inbound.grpc import RpcListener
    from blueprint_proxy.inbound.rpc_server import RpcServer
    from blueprint_proxy.upstreams.upstream import Upstream

TICK = 0.1
"""Seconds between two looks at the age of calls in flight."""
WATCH = 1.0
"""Seconds between two looks at the configuration file."""
LOOK = 0.5
"""Seconds that the gRPC listener waits for the first look at a simulator, whose port it may have to follow."""
CUT = 1.0
"""Seconds that cut calls have to be recorded before the process goes."""


class App:
    """One running proxy. `run` ends when a signal or `stop` asks for it; True when every call ended within the grace.

    SIGTERM and SIGINT drain; a second one cuts what is still under way. SIGHUP loads the configuration anew.
    """

    def __init__(
        self, config: Config, *, reload: Callable[[], Config] | None = None, not_hardened: tuple[str, ...] = ()
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._reload = reload or partial(load, config.source)
        self._not_hardened = not_hardened
        self._sweep = Sweep(self._loop)
        self._telemetry = Telemetry()
        self._redactor = Redactor()
        self._logs = Logs(sys.stderr, self._redactor)
        self._logs.attach(self._telemetry)
        self._upstreams: dict[bytes, Upstream] = {}  # those that calls pass through
        self._configured: dict[bytes, Upstream] = {}  # all: functions are guarded by those of kinds not served yet too
        self._overview = Overview(
            config,
            self._configured,
            self._sweep.now,
            events=EventStreams(self._telemetry),
            stop=self._drain_once,
        )
        self._runs = Runs(self._telemetry, addresses=self._overview.addresses)
        self._guard = Guard(
            self._configured, telemetry=self._telemetry, sweep=self._sweep, run_of=self._runs.of_request
        )
        self._runs.on_end = self._guard.end_run
        metrics = Metrics(self._overview.gauges)
        metrics.attach(self._telemetry)
        self._call_log = CallLog(config.state_dir / CALLS, redact=self._redactor.text)
        self._call_log.attach(self._telemetry)
        self._overview.exposition = Exposition(metrics)
        self._secrets = SecretStore(
            emit=self._telemetry.emit,
            now=self._loop.time,
            chance=random.random,  # noqa: S311 -- jitter, no secret
            on_secret=self._register,
        )
        self._overview.secrets = self._secrets
        self._around = Surroundings(
            telemetry=self._telemetry,
            sweep=self._sweep,
            spool=config.state_dir / "spool",
            secrets=self._secrets,
        )
        self._stopping = asyncio.Event()
        self._cut = False
        self._job_token: bytes | None = None
        self._rpc_token: bytes | None = None
        self._listener: Listener | None = None
        self._rpc_upstreams: dict[bytes, RpcUpstream] = {}
        self._rpc: RpcListener | None = None
        self._rpc_server: RpcServer | None = None
        self._via = b"blueprint-proxy-" + secrets.token_hex(4).encode("ascii")
        self._admin: asyncio.Task[None] | None = None
        self._endings: list[asyncio.Task[None]] = []
        self._file_seen = _version(config.source)

    async def run(self) -> bool:
        """Serves until it is told to stop. OSError when a listener cannot be opened or a file cannot be used."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_now)
        logging.getLogger().addHandler(StandardLogging(self._logs))  # for good: the last words are redacted too
        listen = self._config.listen
        try:
            with (
                ListeningSocket(listen.http, "the http listener") as jobs,
                ListeningSocket(listen.admin, "the admin listener") as operators,
            ):
                return await self._run(jobs, operators)
        finally:
            for upstream in self._configured.values():
                upstream.pool.close()
            self._logs.flush()

    def stop(self) -> None:
        """Ends as SIGTERM does: the first time when the calls in flight are through, the second time at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            return
        self._cut = True
        self._guard.abort()
        if self._listener is not None:
            self._listener.abort()
        if self._rpc_server is not None:
            self._rpc_server.abort()
        if self._admin is not None:
            self._admin.cancel()

    def _drain_once(self) -> None:
        if not self._stopping.is_set():
            self.stop()

    async def _run(self, jobs: ListeningSocket, operators: ListeningSocket) -> bool:
        self._overview.http, self._overview.admin = jobs.address, operators.address
        self._put_in_force(self._config)
        tls = None if self._config.tls is None else tls_context(self._config.tls)
        listener = self._listener = self._listener_on(jobs.address)
        server = await self._loop.create_server(listener, sock=jobs.socket, ssl=jobs.tls(tls), backlog=BACKLOG)
        self._telemetry.emit(Listening("http", str(jobs.address)))
        for why in self._not_hardened:
            self._telemetry.emit(NotHardened(why))
        await self._open_rpc()
        self._overview.listening = True
        _settle_garbage_collection()
        drained = False
        admin_stopping = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                self._admin = group.create_task(self._serve_admin(operators, operators.tls(tls), admin_stopping))
                group.create_task(self._watch())
                keeping = group.create_task(self._secrets.run())
                await self._stopping.wait()
                self._overview.listening = False
                server.close()
                jobs.close()
                drained = all(await asyncio.gather(self._drain(listener), self._drain_rpc(), self._drain_upstreams()))
                self._runs.drain()
                self._overview.events.end()
                admin_stopping.set()
                await asyncio.gather(*(upstream.end() for upstream in self._upstreams.values()), *self._endings)
                keeping.cancel()  # the last calls may have had to wait for a secret
        finally:
            server.close()
            listener.abort()
            self._guard.abort()
            await self._guard.quiet.wait()
            self._runs.drain()
            await self._call_log.close()
            self._telemetry.emit(Stopped(drained))
        return drained

    # the data listener

    def _listener_on(self, address: Address) -> Listener:
        return Listener(
            self._upstreams,
            telemetry=self._telemetry,
            sweep=self._sweep,
            via=self._via,
            own=authorities(address),
            authority=b"localhost" if address.unix is not None else str(address).encode("ascii"),
            scheme=b"http" if self._config.tls is None or address.unix is not None else b"https",
            token=self._job_token,
            runs=self._runs,
        )

    async def _open_rpc(self) -> None:
        """Opens the gRPC listener where an upstream wants it: at the start, or when a reload brings the first one."""
        if not self._rpc_upstreams or self._rpc_server is not None or self._listener is None:
            return
        listen = self._config.listen.grpc
        await asyncio.gather(
            *(
                upstream.supervisor.first_look(LOOK)
                for upstream in self._rpc_upstreams.values()
                if isinstance(upstream, GenieSimUpstream)
            )
        )
        if self._rpc_keeps_closed():
            self._overview.grpc = listen if listen.port or listen.unix else None  # nothing is loaded until it opens
            return
        grpc, rpc_server = await asyncio.to_thread(_import_rpc)
        self._rpc = grpc.RpcListener(
            self._rpc_upstreams,
            telemetry=self._telemetry,
            via=self._via,
            token=self._rpc_token,
            runs=self._runs,
            request_id=self._listener.request_id,
        )
        limit = max(upstream.largest_message for upstream in self._rpc_upstreams.values())
        server: RpcServer = rpc_server.RpcServer(self._rpc, listen, self._config.tls, limit=limit)
        await server.start()
        self._rpc_server = server
        self._overview.grpc = server.address
        await self._follow_endpoints()
        if not server.paused:
            self._telemetry.emit(Listening("grpc", str(server.address)))

    def _rpc_keeps_closed(self) -> bool:
        alone = all(isinstance(upstream, GenieSimUpstream) for upstream in self._rpc_upstreams.values())
        return any(
            isinstance(upstream, GenieSimUpstream) and upstream.keeps_closed(alone=alone)
            for upstream in self._rpc_upstreams.values()
        )

    async def _follow_endpoints(self) -> None:
        """A check of the simulator by a TCP connect stays honest: the listener accepts while the simulator does."""
        server = self._rpc_server
        if server is None:
            return
        closed = self._rpc_keeps_closed()
        if closed and not server.paused:
            await server.pause()
        elif server.paused and not closed:
            try:
                await server.resume()
            except OSError as error:
                self._telemetry.emit(ConfigurationRejected((str(error),)))
                return
            self._telemetry.emit(Listening("grpc", str(server.address)))

    async def _drain(self, listener: Listener) -> bool:
        """Lets calls end; whether all of them did. What is left after the grace is cut, and its end is waited for."""
        grace = self._config.drain.grace
        in_flight = sum(upstream.pipelines.in_flight for upstream in self._configured.values())
        self._telemetry.emit(Draining(grace, in_flight))
        listener.drain()
        self._guard.drain()
        self._runs.draining = True
        try:
            async with asyncio.timeout(grace):
                await listener.quiet.wait()
                await self._guard.quiet.wait()
        except TimeoutError:
            self._cut = True
            listener.abort()
            self._guard.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CUT):
                    await listener.quiet.wait()
        return not self._cut

    async def _drain_upstreams(self) -> bool:
        """What is still in a simulator's slot has the grace to end; then it is left there. No job waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self._cut else self._config.drain.grace):
                await asyncio.gather(*(upstream.quiet() for upstream in self._upstreams.values()))
        return True

    async def _drain_rpc(self) -> bool:
        """The same for the gRPC listener."""
        return self._rpc_server is None or await self._rpc_server.drain(self._config.drain.grace)

    # the control plane

    async def _serve_admin(
        self, listening: ListeningSocket, tls: ssl.SSLContext | None, stopping: asyncio.Event
    ) -> None:
        application, serving = await asyncio.to_thread(_import_admin)
        await serving.serve_admin(
            application.create_app(self._overview, runs=self._runs, guard=self._guard),
            listening.socket,
            started=partial(self._telemetry.emit, Listening("admin", str(listening.address))),
            stopping=stopping,
            tls=tls,
        )

    async def _watch(self) -> None:
        """Looks at what no event tells: calls that grow old, and a configuration file that changed."""
        looked = self._loop.time()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._stopping.wait()
            now = self._loop.time()
            for upstream in self._configured.values():
                upstream.tick(now)
            if self._rpc_upstreams and self._rpc_server is None:
                await self._open_rpc_late()
            await self._follow_endpoints()
            if now - looked >= WATCH:
                looked = now
                self._logs.flush()
                self._call_log.flush()
                if _version(self._config.source) != self._file_seen:
                    self._reload_now()

    async def _open_rpc_late(self) -> None:
        """After a reload that brought the first gRPC upstream. Nobody has asked for the listener before."""
        try:
            await self._open_rpc()
        except OSError as error:
            self._telemetry.emit(ConfigurationRejected((str(error),)))
            self._rpc_upstreams.clear()

    # configuration

    def _reload_now(self) -> None:
        """Takes the file's new content, or none of it."""
        self._file_seen = _version(self._config.source)
        try:
            config = self._reload()
            self._put_in_force(config)
        except ConfigError as error:
            self._telemetry.emit(ConfigurationRejected(tuple(str(problem) for problem in error.problems)))
        except (OSError, ValueError) as error:
            self._telemetry.emit(ConfigurationRejected((str(error),)))

    def _put_in_force(self, config: Config) -> None:
        """Makes everything of `config` before any of it is put in place. Calls under way end on the old upstreams.

        OSError or ValueError when a part cannot be used: then nothing has changed.
        """
        if (config.listen, config.tls) != (self._config.listen, self._config.tls):
            raise ValueError("listen and tls cannot change while the proxy runs: start it anew")
        job_token = self._token(config.jobs.token, "jobs.token")
        admin_token = self._token(config.admin.token, "admin.token")
        if admin_token is not None and job_token == admin_token:
            raise OSError("jobs.token and admin.token are the same: every job would be an operator")
        around = replace(self._around, spool=config.state_dir / "spool")
        built = {
            name.encode("ascii"): self._build(name, settings, around) for name, settings in config.upstreams.items()
        }
        rpc = {name: upstream for name, upstream in built.items() if isinstance(upstream, RpcUpstream)}
        largest = max((upstream.largest_message for upstream in rpc.values()), default=0)
        if self._rpc_server is not None and largest > self._rpc_server.limit:
            raise ValueError("message_limit cannot grow while the proxy runs: start it anew")
        old = list(self._configured.values())
        self._configured.clear()
        self._configured.update(built)
        self._upstreams.clear()
        self._upstreams.update((name, upstream) for name, upstream in built.items() if upstream.settings.served)
        self._rpc_upstreams.clear()
        self._rpc_upstreams.update(rpc)
        for upstream in old:
            upstream.pool.close()
            if isinstance(upstream, GenieSimUpstream) and not upstream.is_followed_by(built.values()):
                self._endings.append(self._loop.create_task(upstream.retire()))
        self._around = around
        self._call_log.move(config.state_dir / CALLS)
        listen = config.listen
        self._runs.by_scope = job_token is None
        token = None if job_token is None else job_token.reveal().encode("ascii")
        self._job_token = None if listen.http.is_private else token
        self._rpc_token = None if listen.grpc.is_private else token
        if self._listener is not None:
            self._listener.token = self._job_token
        if self._rpc is not None:
            self._rpc.token = self._rpc_token
        self._overview.token, self._overview.jobs_token = admin_token, job_token
        self._secrets.put_in_force(config)
        self._config = self._overview.configuration = config
        self._telemetry.emit(ConfigurationLoaded("built-in" if config.source is None else str(config.source)))

    def _build(self, name: str, settings: UpstreamSettings, around: Surroundings) -> Upstream:
        try:
            return build(settings, around, self._configured.get(name.encode("ascii")))
        except OSError as error:
            raise OSError(f"upstreams.{name}.tls: {error.strerror or error}") from error

    def _token(self, source: SecretSource | None, key: str) -> Secret | None:
        if source is None:
            return None
        token = read_secret(source)
        if token is None:
            raise OSError(f"{key}: configured, and nothing found in {source}")
        self._register(token)
        return token

    def _register(self, secret: Secret) -> None:
        self._redactor.register_secret(secret.reveal())


def _settle_garbage_collection() -> None:
    """What start-up made lives as long as the process: nothing to look through again.

    A call makes some dozens of objects, nearly all freed by their counts. At the default threshold of 700 a hundred
    calls in flight set off a collection every few calls, a tenth of all CPU; cycles are rare and can wait for 10,000.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _import_admin() -> tuple[Any, Any]:
    return importlib.import_module("blueprint_proxy.admin.app"), importlib.import_module(
        "blueprint_proxy.admin.serving"
    )


def _import_rpc() -> tuple[Any, Any]:
    return importlib.import_module("blueprint_proxy.inbound.grpc"), importlib.import_module(
        "blueprint_proxy.inbound.rpc_server"
    )


def _version(file: Path | None) -> tuple[int, int, int] | None:
    """What changes when the file does, also when a symbolic link under it is turned (Kubernetes does that)."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
