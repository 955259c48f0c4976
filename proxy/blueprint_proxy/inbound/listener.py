"""What the connections of one listener share: where calls can go, who may make them, and when it ends."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import re
import secrets
from typing import TYPE_CHECKING, Protocol

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.inbound.http1 import ServerConnection
from blueprint_proxy.inbound.peers import credentials
from blueprint_proxy.inbound.routing import RUN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from blueprint_proxy.bodies.stream import Flow
    from blueprint_proxy.calls import Call, Reply
    from blueprint_proxy.http1.fields import Fields
    from blueprint_proxy.http1.heads import RequestHead
    from blueprint_proxy.runs.registry import Runs
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.sweep import Sweep
    from blueprint_proxy.telemetry.stream import Telemetry

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Destination(Protocol):
    """What a request can be routed to."""

    name: str

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
    ) -> Call: ...

    def send(self, call: Call) -> Awaitable[Reply]: ...


class Listener:
    """What all connections of one listener share.

    `own` are the authorities by which jobs may name it in an absolute-form target, `authority` the one that stands in
    rewritten links for a job that sent no Host; `token` is asked of every request where the listener is not private to
    this host; `via` is our pseudonym, by which a loop is known; `runs` are those that calls can belong to.
    """

    def __init__(
        self,
        upstreams: Mapping[bytes, Destination],
        *,
        telemetry: Telemetry,
        sweep: Sweep,
        via: bytes,
        own: frozenset[bytes],
        authority: bytes,
        scheme: bytes,
        token: bytes | None,
        runs: Runs,
    ) -> None:
        self.upstreams = upstreams
        self.runs = runs
        self.telemetry = telemetry
        self.sweep = sweep
        self.via = via
        self.via_lines = tuple(b"Via: 1.%d %b\r\n" % (minor, via) for minor in (0, 1))
        self.own = own
        self.authority = authority
        self.scheme = scheme
        self.token = token
        self.draining = False
        self.connections: set[ServerConnection] = set()
        self.quiet = asyncio.Event()
        self.quiet.set()
        start = secrets.token_hex(6)
        self._ids = (f"{start}-{number:x}" for number in itertools.count(1))

    def __call__(self) -> ServerConnection:
        return ServerConnection(self)

    def drain(self) -> None:
        """Ends idle connections now and the others after their present reply; new requests are refused meanwhile."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_when_idle()

    def abort(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    def admit(self, head: RequestHead) -> None:
        """Refusal for a request that may not come in, whatever it asks for."""
        if self.draining:
            raise Refusal(Reason.DRAINING, "this proxy is shutting down; nothing was sent", sent=False)
        if self.token is not None:
            token = head.own.get(b"x-blueprint-token", b"")
            if not hmac.compare_digest(token, self.token):
                raise Refusal(Reason.UNAUTHENTICATED, "the x-blueprint-token field is missing or wrong", sent=False)
        if head.via and any(self.via in via for via in head.via):
            raise Refusal(
                Reason.LOOP,
                "this request has been through this proxy already: an upstream's url leads back here",
                sent=False,
            )

    def run(self, head: RequestHead, in_path: str | None, connection: ServerConnection) -> Run | None:
        """The run that a call belongs to: by its field, else by its path, else by its process, else the only one.

        Refusal for what no run is called, and for SCENE~JOB where it takes a lease's id.
        """
        named = head.own.get(b"x-blueprint-run") if head.own else None
        if named is not None:
            if RUN.fullmatch(named) is None:
                raise Refusal(
                    Reason.BAD_REQUEST, "the x-blueprint-run field has characters that no run has", sent=False
                )
            return self.runs.named(named.decode("ascii"))
        if in_path is not None:
            return self.runs.named(in_path)
        # With one lease alone it makes no difference whose process it is.
        return self.runs.only if len(self.runs.held) < 2 else self._run_of_peer(connection)

    def _run_of_peer(self, connection: ServerConnection) -> Run | None:
        """The run of the process that made a connection over a unix socket, looked up again when runs come and go."""
        generation, run = connection.peers_run
        if generation != self.runs.generation:
            peer = connection.transport_socket
            caller = None if peer is None else credentials(peer)
            run = None if caller is None else self.runs.of_process(caller.pid)
            connection.peers_run = self.runs.generation, run
        return run

    def request_id(self, given: bytes | None) -> str:
        return given.decode("ascii") if given is not None and _REQUEST_ID.fullmatch(given) else next(self._ids)
