"""The two ways of a call: through the sidecar, or straight to a simulator that nobody guards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from blueprint_clients.genie_sim.answers import Answered, error_of, words_of
from blueprint_clients.genie_sim.channels import grpc_library
from blueprint_clients.genie_sim.deadlines import usual_wait
from blueprint_clients.genie_sim.errors import CallTimedOut, MaybeExecuted, Overloaded, SidecarGone

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from blueprint_clients.genie_sim.channels import Line, Metadata
    from blueprint_clients.genie_sim.lane import Lane

RESTART_PATIENCE_S = 10.0
"""How long a call that has not left waits for a sidecar to come back: it listens again within 1 s of its start."""


class Asking(NamedTuple):
    """A call to be made. `deadline` is in time.monotonic's seconds."""

    method: str
    path: str
    request: Message
    deadline: float

    def left(self) -> float:
        """Seconds until the deadline, at least 1 ms."""
        return max(0.001, self.deadline - time.monotonic())


def through(line: Line, metadata: Metadata, asking: Asking) -> Answered:
    """Ask by way of the sidecar, which does whatever can be done about failures. Raises a GenieSimCallError.

    A call that has found no connection has not left this process: it waits for the sidecar to come back, and goes then.
    """
    patience_ends = min(time.monotonic() + RESTART_PATIENCE_S, asking.deadline)
    while True:  # a channel may stand for a moment that nobody is behind any more
        try:
            return _asked(line, metadata, asking)
        except SidecarGone:
            rest = patience_ends - time.monotonic()
            if rest <= 0 or not line.connects_within(rest):
                raise


def _asked(line: Line, metadata: Metadata, asking: Asking) -> Answered:
    grpc = grpc_library()
    try:
        message, call = line.method(asking.path).with_call(
            asking.request.SerializeToString(), timeout=asking.left(), metadata=metadata
        )
    except grpc.RpcError as failure:
        raise error_of(asking.method, failure, through=True) from failure
    return Answered(message, words_of(call.trailing_metadata()))


def straight(line: Line, lane: Lane, asking: Asking) -> Answered:
    """Ask the simulator itself, one call at a time. Raises a GenieSimCallError.

    When the caller's time is over, the call is left running and keeps the place: given up, it would go on in the
    server and take the next call's answer.
    """
    if not lane.take(asking.method, asking.left()):
        message = f"{asking.method}: no place within this call's time; it is held by {lane.held_by()}"
        raise Overloaded(message, method=asking.method, not_sent=True)
    grpc = grpc_library()
    call = _begun(line, lane, asking)
    try:
        failure = call.exception(timeout=asking.left())
    except grpc.FutureCancelledError as closed:
        message = f"{asking.method}: the channel was closed before the answer came"
        raise MaybeExecuted(message, method=asking.method, maybe_executed=True) from closed
    except grpc.FutureTimeoutError as late:
        message = f"{asking.method}: no answer within this call's time; the simulator goes on with it"
        raise CallTimedOut(message, method=asking.method, maybe_executed=True) from late
    if failure is not None:
        raise error_of(asking.method, failure, through=False) from failure
    return Answered(call.result(), words_of(call.trailing_metadata()))


def _begun(line: Line, lane: Lane, asking: Asking) -> Any:
    """Send it. The place is given back when the call has ended, whoever still waits for it."""
    try:
        call = line.method(asking.path).future(
            asking.request.SerializeToString(), timeout=max(asking.left(), usual_wait(asking.method))
        )
    except BaseException:
        lane.give_back()
        raise
    call.add_done_callback(lambda _: lane.give_back())
    return call
