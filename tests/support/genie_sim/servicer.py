"""The server's handlers: what a worker thread does with a request between the wire and the mailbox."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc

from blueprint_clients.genie_sim.messages import Method, load
from support.genie_sim.mailbox import Data, Mailbox
from support.genie_sim.wire import DEAD, REPORTS, WIRES

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.genie_sim.ledger import Ledger

UNREADABLE = (TypeError, ValueError, AttributeError, KeyError, IndexError)
"""What taking apart another's result raises."""


class Servicer(grpc.GenericRpcHandler):
    """All methods over raw bytes, one worker a call, and counts that the real server does not keep."""

    def __init__(self, mailbox: Mailbox, ledger: Ledger, *, patched: bool) -> None:
        self._mailbox = mailbox
        self._ledger = ledger
        self._lock = threading.Lock()
        self._inside: dict[int, grpc.ServicerContext] = {}
        self._waiting: dict[int, grpc.ServicerContext] = {}
        self.max_in_flight = 0
        self.offered = 0
        methods = load().methods.values()
        self._methods = {method.path: method for method in methods if patched or method.name not in REPORTS}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        method = self._methods.get(str(handler_call_details.method))
        if method is None:
            return None
        with self._lock:
            self.offered += 1

        def call(payload: bytes, context: grpc.ServicerContext) -> bytes:
            return self._call(method, payload, context)

        return grpc.unary_unary_rpc_method_handler(call)

    def state(self) -> dict[str, Any]:
        """Counts of now: calls that workers hold, those in the mailbox, and those of them whose caller has left."""
        with self._lock:
            return {
                "offered": self.offered,
                "in_flight": len(self._inside),
                "max_in_flight": self.max_in_flight,
                "waiting": len(self._waiting),
                "parked": sum(not context.is_active() for context in self._waiting.values()),
            }

    def _call(self, method: Method, payload: bytes, context: grpc.ServicerContext) -> bytes:
        arrival = self._ledger.arrived(method.name, payload)
        with self._lock:
            self._inside[arrival] = context
            self.max_in_flight = max(self.max_in_flight, len(self._inside))
        try:
            return self._answer(method, payload, arrival, context)
        finally:
            with self._lock:
                del self._inside[arrival]
            self._ledger.note("answered", arrival)

    def _answer(self, method: Method, payload: bytes, arrival: int, context: grpc.ServicerContext) -> bytes:
        request: Any = method.request.FromString(payload)
        if method.name in DEAD:
            raise AttributeError("'_Context' object has no attribute 'encode'")
        if method.name in REPORTS:
            return method.response(**REPORTS[method.name]).SerializeToString()
        wire = WIRES[method.name]
        with self._lock:
            self._waiting[arrival] = context
        try:
            result = self._mailbox.ask(wire.command, Data(arrival, wire.read(request)))
        finally:
            with self._lock:
                del self._waiting[arrival]
        if result.arrival != arrival:
            self._ledger.note("misdelivered", arrival)
        return self._written(wire.write, method, request, result.value, arrival)

    def _written(
        self,
        write: Callable[[Any, Any], dict[str, Any]],
        method: Method,
        request: Any,
        value: Any,
        arrival: int,
    ) -> bytes:
        try:
            return method.response(**write(request, value)).SerializeToString()
        except UNREADABLE:
            self._ledger.note("wrong_type", arrival)
            raise
