"""What came back of a call: the sidecar's words in its trailing metadata, else what gRPC's status alone can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from blueprint_clients.genie_sim.errors import (
    BY_REASON,
    AppError,
    CallFailed,
    CallTimedOut,
    GenieSimCallError,
    MaybeExecuted,
    MessageTooLarge,
    SidecarGone,
    SimulatorUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

    from blueprint_clients.genie_sim.messages import Method


class Answered(NamedTuple):
    """An answer with status OK, and the words of its trailing metadata."""

    message: bytes
    words: dict[str, str]


SOURCE = "x-blueprint-source"
EPOCH = "x-blueprint-epoch"
APP_ERROR = "x-blueprint-app-error"

SAYS = ("msg", "errmsg", "recordingState")
"""Fields of answers in which the server puts its errors, too."""

ERRORS = ("error", "ERROR:")
"""How such an error begins."""

NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "errors resolving ",
    "DNS resolution failed",
    "connections to all",
)
"""How gRPC's words begin for a call that never had a connection."""

REFUSED_STREAM = "error code 7"
"""In gRPC's words for a stream that the other side promises not to have looked at (RFC 9113 §8.7)."""

TOO_LARGE = "message larger than max"


def words_of(trailing: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Read trailing metadata; of several values of a key the last counts, binary ones are left out."""
    return {key: value for key, value in trailing or () if isinstance(value, str)}


def epoch_of(words: Mapping[str, str]) -> int | None:
    """Read the simulator's epoch; None where the sidecar has not said it."""
    epoch = words.get(EPOCH, "")
    return int(epoch) if epoch.isascii() and epoch.isdigit() else None


def attempts_of(words: Mapping[str, str]) -> int:
    """Read how many attempts the sidecar has made; 0 where it has not said it."""
    attempts = words.get("x-blueprint-attempts", "")
    return int(attempts) if attempts.isascii() and attempts.isdigit() else 0


def answer_of(method: Method, answered: Answered) -> Message:
    """Read an answer whose status is OK; AppError where it says of itself that it is an error, sidecar or not."""
    try:
        answer = method.response.FromString(answered.message)
    except _unreadable() as error:
        message = f"{method.name}: the answer is no {method.response.DESCRIPTOR.name}: {error}"
        raise CallFailed(message, method=method.name, code="OK", **_told(answered.words, attempts=1)) from error
    text = next((said for said in _texts(answer) if said.startswith(ERRORS)), answered.words.get(APP_ERROR))
    if text is not None:
        told = _told(answered.words, attempts=1)
        failed = AppError(f"{method.name}: {text}", method=method.name, code="OK", **told)
        failed.answer = answer
        raise failed
    return answer


def error_of(method: str, failure: Any, *, through: bool) -> GenieSimCallError:
    """Give a call's end as an error. `failure` is the grpc.RpcError, which is also the call that ended with it."""
    code, details = failure.code().name, failure.details() or ""
    words = words_of(failure.trailing_metadata())
    said = {"method": method, "code": code, **_told(words)}
    message = f"{method}: {details or code}"
    if APP_ERROR in words:
        return AppError(message, **said)
    reason = words.get("x-blueprint-error")
    if reason is not None:
        return BY_REASON.get(reason, GenieSimCallError)(message, reason=reason, **said)
    if SOURCE in words:  # the simulator's own word, or what is left of it
        return (MaybeExecuted if said["maybe_executed"] else CallFailed)(message, **said)
    return _untold(code, details, message, said, through=through)


def _untold(code: str, details: str, message: str, said: dict[str, Any], *, through: bool) -> GenieSimCallError:
    """Judge a status that came without the sidecar's words: gRPC's own, or the simulator's where no sidecar is."""
    if TOO_LARGE in details:
        said["not_sent"] = details.startswith("CLIENT: Sent")
        return MessageTooLarge(message, **said)
    said["attempts"] = 1
    if code == "DEADLINE_EXCEEDED":
        return CallTimedOut(message, **{**said, "maybe_executed": True})
    if code == "UNAVAILABLE" and (details.startswith(NEVER_CONNECTED) or REFUSED_STREAM in details):
        said = {**said, "not_sent": True, "attempts": 0}
        return SidecarGone(message, **said) if through else SimulatorUnreachable(message, **said)
    if code in {"UNAVAILABLE", "CANCELLED"}:
        return MaybeExecuted(message, **{**said, "maybe_executed": True})
    return CallFailed(message, **said)


def _told(words: Mapping[str, str], attempts: int = 0) -> dict[str, Any]:
    """Read the words that every error carries; `attempts` stands where the sidecar has not counted them."""
    try:
        retry_after = float(words["retry-after"])
    except (KeyError, ValueError):
        retry_after = None
    return {
        "upstream": words.get("x-blueprint-upstream"),
        "request_id": words.get("x-request-id"),
        "retry_after": retry_after,
        "not_sent": words.get("x-blueprint-not-sent") == "true",
        "maybe_executed": words.get("x-blueprint-maybe-executed") == "true",
        "attempts": attempts_of(words) or attempts,
        "epoch": epoch_of(words),
    }


def _unreadable() -> type[Exception]:
    """Give what protobuf raises for bytes that are no such message."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 -- an extra; it is there once a request is made

    found: type[Exception] = DecodeError
    return found


def _texts(answer: Message) -> list[str]:
    known = answer.DESCRIPTOR.fields_by_name
    return [str(getattr(answer, name)) for name in SAYS if name in known]
