"""A gRPC server of the library's own that does what a test says, and remembers what reached it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

BIG = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
PATIENCE = 20.0


@dataclass
class Heard:
    """One RPC that reached the server."""

    method: str
    metadata: list[tuple[str, Any]]
    time_remaining: float
    messages: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    code: grpc.StatusCode | None = None

    def all(self, key: str) -> list[Any]:
        return [value for found, value in self.metadata if found == key]


Behaviour = Callable[[Iterator[bytes], grpc.ServicerContext, Heard], Iterator[bytes]]


def echo(messages: Iterator[bytes], context: grpc.ServicerContext, heard: Heard) -> Iterator[bytes]:
    for message in messages:
        heard.messages.append(message)
        yield message


class RpcUpstream:
    """A sync server. `on(method, behaviour)` says what a method does; the others echo.

    Every method is served as a stream of messages both ways: on the wire that is every arity.
    """

    def __init__(self, port: int = 0, *, workers: int = 32, options: list[tuple[str, Any]] | None = None) -> None:
        self.heard: list[Heard] = []
        self._behaviours: dict[str, Behaviour] = {}
        self._arrived = threading.Condition()
        self.server = grpc.server(ThreadPoolExecutor(workers), options=[("grpc.so_reuseport", 0), *(options or BIG)])
        self.server.add_generic_rpc_handlers((self,))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.server.start()

    def on(self, method: str, behaviour: Behaviour) -> None:
        self._behaviours[method] = behaviour

    def forget(self) -> None:
        """What methods do, and what was heard: for the next test."""
        self._behaviours.clear()
        self.heard.clear()

    def service(self, details: Any) -> Any:
        behaviour = self._behaviours.get(details.method, echo)

        def serve(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            heard = Heard(
                details.method, [tuple(pair) for pair in context.invocation_metadata()], context.time_remaining()
            )
            context.add_callback(heard.over.set)
            with self._arrived:
                self.heard.append(heard)
                self._arrived.notify_all()
            yield from behaviour(messages, context, heard)

        return grpc.stream_stream_rpc_method_handler(serve)

    def wait_for(self, calls: int) -> Heard:
        """The last RPC, when that many have come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.heard) >= calls, PATIENCE), f"{len(self.heard)} calls came"
            return self.heard[calls - 1]

    def stop(self, grace: float | None = None) -> None:
        self.server.stop(grace).wait(PATIENCE)


def wait_until(holds: Callable[[], bool], limit: float = PATIENCE) -> None:
    """Polls; for what no event tells."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def pairs(metadata: Any) -> list[tuple[str, Any]]:
    return [tuple(pair) for pair in metadata or ()]


def value(metadata: Any, key: str) -> Any:
    found = [each for name, each in pairs(metadata) if name == key]
    assert len(found) == 1, f"{key}: {found} in {pairs(metadata)}"
    return found[0]
