"""A gRPC server in the test's own process that says what the sidecar says, as a test scripts it.

It runs on Python 3.10 and grpcio 1.62, as the clients do.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from blueprint_clients.genie_sim.messages import load

if TYPE_CHECKING:
    from collections.abc import Sequence

Pairs = tuple[tuple[str, str], ...]

PATIENCE = 10.0


class AskedRpc(NamedTuple):
    """A call as it arrived; `left` is in seconds, from its deadline."""

    method: str
    request: bytes
    metadata: dict[str, str]
    left: float | None


@dataclass
class Reply:
    """An end of a call: `fields` of the answer for OK, else a status. `begun` is set, `hold` waited for before it."""

    fields: dict[str, Any] = field(default_factory=dict)
    code: str = "OK"
    details: str = ""
    trailing: Pairs = ()
    begun: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event | None = None
    raw: bytes | None = None


def refused(reason: str, code: str, details: str = "no", **words: str) -> Reply:
    """A refusal as the sidecar says it: `epoch="2"` becomes x-blueprint-epoch."""
    said = {"error": reason, "source": "proxy", "attempts": "0", **words}
    return Reply(code=code, details=f"blueprint-proxy: {details}", trailing=words_as_pairs(said))


def words_as_pairs(words: dict[str, str]) -> Pairs:
    """`retry_after` is retry-after, any other word has the sidecar's prefix."""
    return tuple(
        ("retry-after" if word == "retry_after" else f"x-blueprint-{word.replace('_', '-')}", value)
        for word, value in words.items()
    )


class RpcSidecar(grpc.GenericRpcHandler):
    """Listens until `stop()`. `script(method, *replies)` sets what a method answers, the last for good."""

    def __init__(self, address: str = "127.0.0.1:0", *, tls: grpc.ServerCredentials | None = None) -> None:
        self.asked: list[AskedRpc] = []
        self._scripts: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()
        limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        options = [("grpc.so_reuseport", 0), *limits]
        self._server = grpc.server(ThreadPoolExecutor(max_workers=16), handlers=[self], options=options)
        server = self._server
        port = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls)
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        self._server.start()

    def script(self, method: str, *replies: Reply) -> None:
        self._scripts[method] = list(replies)

    def of(self, method: str) -> list[AskedRpc]:
        return [one for one in self.asked if one.method == method]

    def stop(self) -> None:
        """Cut every call and connection, and close the port."""
        self._server.stop(0).wait(PATIENCE)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        name = str(handler_call_details.method).rpartition("/")[2]
        metadata: Sequence[tuple[str, Any]] = handler_call_details.invocation_metadata or ()

        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            with self._lock:
                self.asked.append(AskedRpc(name, request, dict(metadata), context.time_remaining()))
                script = self._scripts.get(name)
                reply = Reply() if not script else script.pop(0) if len(script) > 1 else script[0]
            reply.begun.set()
            if reply.hold is not None:
                reply.hold.wait(PATIENCE)
            context.set_trailing_metadata(reply.trailing)
            if reply.code != "OK":
                context.abort(grpc.StatusCode[reply.code], reply.details)
            if reply.raw is not None:
                return reply.raw
            return load().methods[name].response(**reply.fields).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(call)
