"""One gRPC upstream at run time: from a method and its metadata to a Call. The rest is every upstream's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, cast

from blueprint_proxy.bodies.messages import JobMessages
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.policies.deadline import earliest, timeout_ms
from blueprint_proxy.rpc.exchange import RpcCall
from blueprint_proxy.rpc.metadata import PREVIOUS_ATTEMPTS, Metadata, passing
from blueprint_proxy.telemetry import tracing
from blueprint_proxy.telemetry.events import WouldHave
from blueprint_proxy.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint_proxy.bodies.request import RequestBody
    from blueprint_proxy.config import OperationSettings
    from blueprint_proxy.rpc.metadata import Pair
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.upstreams.grpc import RpcKind


class RpcUpstream(Upstream):
    """What serves the calls to one configured upstream of gRPC."""

    @property
    def kind_name(self) -> str:
        return self.settings.kind

    @property
    def largest_message(self) -> int:
        """Bytes."""
        return self.settings.for_operation("", "", "").message_limit or 0

    @property
    def rpc_kind(self) -> RpcKind:
        """What is known of its service. A Kind's rules for HTTP requests are never asked."""
        return cast("RpcKind", self.kind)

    def call(self, *_: object, **__: object) -> NoReturn:
        """An HTTP request for it: refused."""
        raise Refusal(
            Reason.UNKNOWN_UPSTREAM,
            f"upstream {self.name} speaks gRPC: call it at the address of listen.grpc",
            sent=False,
        )

    def unary(self, method: str) -> bool:
        """Whether this method of one message each way is known to be one."""
        known = self.rpc_kind.unary(method)
        if known is not None:
            return known
        return self._in_force(self.rpc_kind.operation(method, None).name, method).unary

    def rpc(
        self,
        method: str,
        metadata: tuple[Pair, ...],
        message: bytes | None,
        *,
        own: Mapping[str, str],
        left: float | None,
        request_id: str,
        run: Run | None,
    ) -> RpcCall:
        """The Call of `method`; Refusal for a bad key of ours, or a message over a limit.

        `message` is the one of a unary call, None for a stream. `own` holds the job's x-blueprint- keys, `left` the
        seconds to the deadline that it stated by grpc-timeout.
        """
        now = self._now()
        operation = self.rpc_kind.operation(method, message)
        settings, policies = self._by_operation.get(operation.name) or self._look_up(
            operation.name, "POST", method.encode("ascii", "replace")
        )
        repeatable = operation.repeatable
        if settings.operation_class is not None:
            repeatable = settings.operation_class != "unsafe"
        sent_up = Metadata(passing(metadata))
        previous = _previous(sent_up)
        dropped = frozenset({PREVIOUS_ATTEMPTS.encode("ascii")}) if previous else frozenset()
        if self._drops_credentials is not None:
            dropped |= self._drops_credentials
        enforcing = settings.mode == "enforce"
        deadline = earliest(left, None if settings.mode == "off" else self._limits(settings, own, request_id))
        until = None if deadline is None else now + deadline
        if run is not None and settings.mode != "off":
            until = earliest(until, run.deadline)
        traceparent = sent_up.get(tracing.HEADER)
        call = RpcCall(
            upstream=self.name,
            operation=operation.name,
            method="POST",
            target=method.encode("ascii", "replace"),
            headers=sent_up.without(dropped) if dropped else sent_up,
            body=message if message is not None else cast("RequestBody", JobMessages()),
            settings=settings,
            policies=policies,
            repeatable=repeatable and message is not None,
            request_id=request_id,
            arrived=now,
            deadline=until,
            run=run,
            trace=None if traceparent is None else tracing.parse(traceparent),
        )
        stated = None if left is None else now + left
        call.unary = message is not None
        call.upward = call.deadline if enforcing else stated
        call.previous = previous
        if message is not None:
            self.check(call, len(message))
        return call

    def check(self, call: RpcCall, size: int) -> None:
        """Refusal for a message that is larger than this upstream takes."""
        settings = call.settings
        limit = earliest(settings.message_limit, settings.body.limit if call.unary else None)
        if limit is None or size <= limit or settings.mode == "off":
            return
        if settings.mode == "enforce":
            raise Refusal(
                Reason.TOO_LARGE,
                f"a message of {size} bytes; upstream {self.name} takes {limit:.0f}",
                sent=False if not call.sent else None,
            )
        self._emit(WouldHave(self.name, call.operation, call.request_id, Reason.TOO_LARGE.value))

    def _in_force(self, operation: str, method: str) -> OperationSettings:
        known = self._by_operation.get(operation)
        return (known or self._look_up(operation, "POST", method.encode("ascii", "replace")))[0]

    def _limits(self, settings: OperationSettings, own: Mapping[str, str], request_id: str) -> float | None:
        """Seconds that the configuration and the job's own key allow."""
        stated = own.get("x-blueprint-timeout-ms")
        if stated is None:
            return settings.deadline
        try:
            return earliest(settings.deadline, timeout_ms(stated.encode("latin-1")))
        except ValueError as problem:
            if settings.mode == "enforce":
                raise Refusal(Reason.BAD_REQUEST, str(problem), sent=False) from problem
            self._emit(WouldHave(self.name, "", request_id, Reason.BAD_REQUEST.value))
            return settings.deadline


def _previous(metadata: Metadata) -> int:
    """How many attempts the job's client says that it has made of this call before."""
    values = metadata.values(PREVIOUS_ATTEMPTS)
    last = values[-1] if values else ""
    return int(last) if isinstance(last, str) and last.isdecimal() and len(last) < 10 else 0
