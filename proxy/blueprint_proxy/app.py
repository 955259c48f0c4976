"""The composition root: builds every object, opens the listeners, and ends them in order.

Data first: the listeners are open before anything heavy is imported, and close before anything else ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import secrets
import signal
import socket
import ssl
import stat
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config import Address, Config, ConfigError, Secret, load, read_secret
from blueprint_proxy.inbound.http1 import Listener
from blueprint_proxy.overview import Overview
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.telemetry.events import (
    ConfigurationLoaded,
    ConfigurationRejected,
    Draining,
    Listening,
    Stopped,
)
from blueprint_proxy.telemetry.exposition import Exposition
from blueprint_proxy.telemetry.logs import Logs, StandardLogging
from blueprint_proxy.telemetry.metrics import Metrics
from blueprint_proxy.telemetry.redaction import Redactor
from blueprint_proxy.telemetry.stream import Telemetry
from blueprint_proxy.upstreams.building import Surroundings, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.upstreams.upstream import Upstream

TICK = 0.1
"""Seconds between two looks at the age of calls in flight."""
WATCH = 1.0
"""Seconds between two looks at the configuration file."""
BACKLOG = 1024


class App:
    """One running proxy. `run` ends when a signal or `stop` asks for it; True when every call ended within the grace."""

    def __init__(self, config: Config, *, reload: Callable[[], Config] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._reload = reload or partial(load, config.source)
        self._sweep = Sweep(self._loop)
        self._telemetry = Telemetry()
        self._redactor = Redactor()
        self._logs = Logs(sys.stderr, self._redactor)
        self._logs.attach(self._telemetry)
        logging.getLogger().addHandler(StandardLogging(self._logs))
        self._upstreams: dict[bytes, Upstream] = {}
        self._overview = Overview(config, self._upstreams, self._sweep.now)
        metrics = Metrics(self._overview.gauges)
        metrics.attach(self._telemetry)
        self._overview.exposition = Exposition(metrics)
        self._around = Surroundings(
            telemetry=self._telemetry,
            sweep=self._sweep,
            via=b"blueprint-proxy-" + secrets.token_hex(4).encode("ascii"),
            spool=config.state_dir / "spool",
            on_secret=self._register,
        )
        self._stopping = asyncio.Event()
        self._listener: Listener | None = None
        self._file_seen = _version(config.source)

    async def run(self) -> bool:
        """Serves until it is told to stop. OSError when a listener cannot be opened."""
        config = self._config
        self._overview.token = self._token(config.admin.token, "admin.token")
        self._replace_upstreams(config)
        server = await self._listen(config)
        self._overview.listening = True
        gc.freeze()  # what start-up made lives as long as the process: nothing to look through again
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_now)
        admin_stopping = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._serve_admin(admin_stopping))
                group.create_task(self._watch())
                await self._stopping.wait()
                drained = await self._drain(server)
                admin_stopping.set()
        finally:
            server.close()
            for upstream in self._upstreams.values():
                upstream.pool.close()
            self._telemetry.emit(Stopped(self._stopping.is_set()))
            self._logs.flush()
        return drained

    def stop(self) -> None:
        """Ends as SIGTERM does."""
        self._stopping.set()

    # the data listener

    async def _listen(self, config: Config) -> asyncio.Server:
        address = config.listen.http
        token = None if address.is_private else self._token(config.jobs.token, "jobs.token")
        self._listener = Listener(
            self._upstreams,
            telemetry=self._telemetry,
            sweep=self._sweep,
            via=self._around.via,
            own=_authorities(address),
            scheme=b"http" if config.tls is None else b"https",
            token=None if token is None else token.reveal().encode(),
        )
        server = await self._loop.create_server(
            self._listener, sock=_bind(address, "the http listener"), ssl=_listener_tls(config), backlog=BACKLOG
        )
        self._telemetry.emit(Listening("http", str(address)))
        return server

    async def _drain(self, server: asyncio.Server) -> bool:
        listener, grace = self._listener, self._config.drain.grace
        self._overview.listening = False
        server.close()
        if listener is None:
            return True
        in_flight = sum(upstream.pipelines.in_flight for upstream in self._upstreams.values())
        self._telemetry.emit(Draining(grace, in_flight))
        listener.drain()
        try:
            async with asyncio.timeout(grace):
                await listener.quiet.wait()
        except TimeoutError:
            listener.abort()
            return False
        return True

    # the control plane

    async def _serve_admin(self, stopping: asyncio.Event) -> None:
        application, serving = await asyncio.to_thread(_import_admin)
        address = str(self._config.listen.admin)
        emit = self._telemetry.emit
        await serving.serve_admin(
            application.create_app(self._overview),
            address,
            started=lambda bound: emit(Listening("admin", bound)),
            stopping=stopping,
        )

    async def _watch(self) -> None:
        """Looks at what no event tells: calls that grow old, and a configuration file that changed."""
        looked = self._loop.time()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._stopping.wait()
            now = self._loop.time()
            for upstream in self._upstreams.values():
                upstream.tick(now)
            if now - looked >= WATCH:
                looked = now
                if _version(self._config.source) != self._file_seen:
                    self._reload_now()

    # configuration

    def _reload_now(self) -> None:
        """Takes the file's new content, or none of it."""
        self._file_seen = _version(self._config.source)
        try:
            config = self._reload()
            self._replace_upstreams(config)
        except ConfigError as error:
            self._telemetry.emit(ConfigurationRejected(tuple(str(problem) for problem in error.problems)))
        except OSError as error:
            self._telemetry.emit(ConfigurationRejected((str(error),)))
        else:
            if (config.listen, config.tls) != (self._config.listen, self._config.tls):
                self._telemetry.emit(
                    ConfigurationRejected(("listen and tls take effect at the next start; all else is in force",))
                )
            self._config = self._overview.configuration = config

    def _replace_upstreams(self, config: Config) -> None:
        """Builds all upstreams before any is put in place. Calls under way end on the old ones."""
        built = {
            name.encode("ascii"): build(settings, self._around, self._upstreams.get(name.encode("ascii")))
            for name, settings in config.upstreams.items()
            if settings.served
        }
        old = list(self._upstreams.values())
        self._upstreams.clear()
        self._upstreams.update(built)
        for upstream in old:
            upstream.pool.close()
        self._telemetry.emit(ConfigurationLoaded("built-in" if config.source is None else str(config.source)))

    def _token(self, source: object, key: str) -> Secret | None:
        if source is None:
            return None
        token = read_secret(source)  # type: ignore[arg-type]
        if token is None:
            raise OSError(f"{key}: configured, and nothing found in {source}")
        self._register(token)
        return token

    def _register(self, secret: Secret) -> None:
        self._redactor.register_secret(secret.reveal())


def _import_admin() -> tuple[Any, Any]:
    return importlib.import_module("blueprint_proxy.admin.app"), importlib.import_module(
        "blueprint_proxy.admin.serving"
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


def _authorities(address: Address) -> frozenset[bytes]:
    """The names of this listener that a job may write into an absolute-form target."""
    if address.unix is not None:
        return frozenset()
    hosts = {address.host, "localhost", "127.0.0.1", "[::1]", socket.gethostname()}
    return frozenset(f"{host}:{address.port}".lower().encode("ascii", "replace") for host in hosts)


def _bind(address: Address, what: str) -> socket.socket:
    """A bound socket; a unix one is for this user alone. OSError names the listener and the address."""
    try:
        if address.unix is not None:
            return _bind_unix(address.unix)
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError as error:
        raise OSError(error.errno, f"{what} cannot bind {address}: {error.strerror or error}") from error
    return bound


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
                probe.connect(path)
                raise OSError(98, "another process serves this socket")
            Path(path).unlink()
    bound = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        bound.bind(path)
    finally:
        os.umask(before)
    return bound


def _listener_tls(config: Config) -> ssl.SSLContext | None:
    files = config.tls
    if files is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
