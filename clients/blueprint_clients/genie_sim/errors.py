"""What a call to Genie Sim can end with, apart from its answer.

Every one is a GenieSimAPIError, and a BlueprintError with the sidecar's word in `reason`. Those that bear the name of a
reason are also the class of that reason in blueprint_clients.errors: `except` may name either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from blueprint_clients import errors
from blueprint_clients.errors import BlueprintError, GenieSimAPIError

if TYPE_CHECKING:
    from google.protobuf.message import Message


class GenieSimCallError(GenieSimAPIError, BlueprintError):
    """A call without an answer that can be used; the base of all that follows.

    `method` is what was called. `epoch` is the simulator's life, as the sidecar counts them; None without its word.
    `code` is gRPC's name of the status: UNAVAILABLE. The rest is BlueprintError's, `status` stays None.
    """

    carried: ClassVar[tuple[str, ...]] = (*BlueprintError.carried, "method", "epoch", "code")

    def __init__(
        self, message: str, *, method: str | None = None, epoch: int | None = None, code: str | None = None, **said: Any
    ) -> None:
        super().__init__(message, **said)
        self.method = method
        self.epoch = epoch
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without grpc's own exception, which holds a call of this process."""
        make, (kind, message, carried, cause) = super().__reduce__()
        return make, (kind, message, carried, cause if isinstance(cause, BlueprintError) else None)


class AppError(GenieSimCallError):
    """The simulator has taken the call and answered, with status OK, that it failed: "ERROR: ...".

    It may have done part of it. `answer` is the answer as it came, None where the sidecar turned it into a status, and
    in another process.
    """

    usual_reason = "app_error"
    answer: Message | None = None


class CallFailed(GenieSimCallError):
    """The simulator's own failure, as it came: `code` and the message are the server's.

    UNKNOWN is what its handlers raise: also every call to the robot before init_robot.
    """

    usual_reason = "call_failed"


class EpochChanged(GenieSimCallError, errors.EpochChanged):
    """The simulator was restarted while the call was on its way: what the job has set up in it is gone."""


class NotInitialised(GenieSimCallError, errors.NotInitialised):
    """The simulator is empty: init_robot first. Nothing was sent."""


class SimulatorHung(GenieSimCallError, errors.Hung):
    """The simulator stands still, and nothing but its restart helps. The message says in which call."""


class MaybeExecuted(GenieSimCallError, errors.MaybeExecuted):
    """The call was sent and its answer is lost: the simulator may have done it."""


class Quarantined(GenieSimCallError, errors.Quarantined):
    """This very request has killed or hung the simulator twice in this run. Nothing was sent."""


class CallTimedOut(GenieSimCallError, errors.DeadlineExceeded):
    """The call's time is over. Where it was sent, the simulator goes on with it."""


class SimulatorUnreachable(GenieSimCallError, errors.UpstreamUnreachable):
    """Nobody listens at the simulator's port, or no attempt has brought an answer."""


class SidecarGone(GenieSimCallError, errors.SidecarUnreachable):
    """The sidecar that this job's calls went through is away. Calls do not go around it: see GenieSimClient."""


class BreakerOpen(GenieSimCallError, errors.CircuitBreakerOpen):
    """The simulator has failed so much that it is left alone for a while. Nothing was sent."""


class Overloaded(GenieSimCallError, errors.Overloaded):
    """Others hold the simulator's one place, and the queue is full or the wait was too long. Nothing was sent."""


class Draining(GenieSimCallError, errors.Draining):
    """The sidecar is shutting down. Nothing was sent."""


class AttemptsExhausted(GenieSimCallError, errors.AttemptsExhausted):
    """Every attempt failed; `code` and the message are those of the last."""


class MessageTooLarge(GenieSimCallError, errors.TooLarge):
    """A request or an answer is over a limit: the sidecar's, this client's, or the simulator's 16,094,304 bytes."""


class UpstreamTruncated(GenieSimCallError, errors.UpstreamTruncated):
    """The answer ended before it was whole."""


class RateLimited(GenieSimCallError, errors.RateLimited):
    """The sidecar's limit on the rate of calls leaves no room within this call's time. Nothing was sent."""


class BadRequest(GenieSimCallError, errors.BadRequest):
    """The call itself is not one that can be made, such as set_light without a light. Nothing was sent."""


class Unauthenticated(GenieSimCallError, errors.Unauthenticated):
    """BLUEPRINT_PROXY_TOKEN is missing or wrong."""


class Forbidden(GenieSimCallError, errors.Forbidden):
    """The sidecar's configuration does not let a job do this."""


class NoSuchUpstream(GenieSimCallError, errors.UnknownUpstream):
    """The sidecar has no such simulator, or does not serve it."""


BY_REASON: dict[str, type[GenieSimCallError]] = {
    kind.usual_reason: kind
    for kind in (
        EpochChanged, NotInitialised, SimulatorHung, MaybeExecuted, Quarantined, CallTimedOut, SimulatorUnreachable,
        SidecarGone, BreakerOpen, Overloaded, Draining, AttemptsExhausted, MessageTooLarge, UpstreamTruncated,
        RateLimited, BadRequest, Unauthenticated, Forbidden, NoSuchUpstream,
    )
}  # fmt: skip


def as_genie_sims(error: BlueprintError, method: str | None = None) -> GenieSimCallError:
    """Give a refusal that was not said to a gRPC call as the class that a Genie Sim call raises for its reason."""
    kind = BY_REASON.get(error.reason, GenieSimCallError)
    return kind(error.message, method=method, **{name: getattr(error, name) for name in BlueprintError.carried})
