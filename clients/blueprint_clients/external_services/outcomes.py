"""What a guarded function's end means: a status, a connection that failed, or an error of the function's own.

No library is imported for it: HTTP clients are recognised by what their answers and exceptions have in common
(`status_code`, `response`, `code`) and by the names of their exceptions, whether or not they are installed.
"""

from __future__ import annotations

import socket
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from blueprint_clients.errors import BlueprintError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUCCESS, FAILURE, THROTTLED, REJECTED, UNKNOWN = "success", "failure", "throttled", "rejected", "unknown"

MAY_REPEAT = {FAILURE, THROTTLED}
"""Outcomes after which a function is run again if the sidecar says so: its own errors and 4xx never are."""

HTTP_LIBRARIES = {
    "requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "http", "urllib", "google", "grpc",
}  # fmt: skip

NEVER_SENT = {
    "NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ConnectTimeout", "ConnectError", "PoolTimeout",
    "ClientConnectorError", "ClientConnectorDNSError", "ConnectionTimeoutError", "EmptyPoolError", "InvalidProxyURL",
}  # fmt: skip
"""Exceptions of HTTP clients that come before the first byte of a request."""

MAYBE_SENT = {
    "ReadTimeout", "ReadTimeoutError", "WriteTimeout", "ReadError", "WriteError", "ProtocolError",
    "RemoteProtocolError", "ChunkedEncodingError", "IncompleteRead", "BadStatusLine", "CloseError",
    "ServerDisconnectedError", "ClientOSError", "ClientPayloadError", "ServerTimeoutError", "SocketTimeoutError",
}  # fmt: skip
"""Exceptions of HTTP clients that come when a request may have arrived."""

CALLERS_OWN = {
    "InvalidURL", "MissingSchema", "InvalidSchema", "UnsupportedProtocol", "LocalProtocolError", "TooManyRedirects",
    "DecodingError", "InvalidHeader", "LocationParseError", "UnrewindableBodyError",
}  # fmt: skip
"""Exceptions of HTTP clients about what they were asked for."""

UNCLEAR = {"ConnectionError", "Timeout", "MaxRetryError", "URLError", "TransportError", "RetryError", "SSLError"}
"""Exceptions of HTTP clients whose cause says which: without one, the request may have arrived."""

GRPC_STATUSES = {
    "UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "DEADLINE_EXCEEDED": 504, "INTERNAL": 500, "UNKNOWN": 500,
    "DATA_LOSS": 500, "ABORTED": 409, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "UNIMPLEMENTED": 501,
    "CANCELLED": 499,
}  # fmt: skip
"""gRPC's statuses as HTTP statuses (google/rpc/code.proto)."""

DEPTH = 8
"""How far causes are followed; the clients wrap twice or three times."""


class Outcome(NamedTuple):
    """How one run of a function ended, in the guard's words.

    `sent`: False = nothing left this host, True = the service may have acted, None = not known. `retry_after` is in
    seconds. `message` names the kind of the error and nothing of its text, which may hold an address with a key.
    """

    kind: str
    status: int | None = None
    retry_after: float | None = None
    sent: bool | None = None
    message: str | None = None

    def settlement(self) -> dict[str, Any]:
        """Give the body that settles a permit with it."""
        said = {
            "outcome": self.kind,
            "status": self.status,
            "retry_after_s": self.retry_after,
            "sent": self.sent,
            "message": self.message,
        }
        return {name: value for name, value in said.items() if value is not None}


def of_result(result: object) -> Outcome:
    """Judge what a function returned: an HTTP answer by its status, anything else is a success."""
    status = status_of(result)
    return Outcome(SUCCESS) if status is None else _of_status(status, headers_of(result), None)


def of_exception(error: BaseException) -> Outcome:
    """Judge what a function raised."""
    name = type(error).__name__
    if isinstance(error, BlueprintError):  # refused on the way: what refused has counted it
        return Outcome(REJECTED, message=name)
    if not isinstance(error, Exception):
        return Outcome(UNKNOWN, message=name)
    inner = getattr(error, "cause", None)
    if name == "RetryError" and isinstance(inner, Exception):  # google-api-core's own retries, around the last failure
        return of_exception(inner)
    status = _status_of_exception(error)
    if status is not None:
        outcome = _of_status(status, headers_of(error), name)
        hint = _retry_delay(error)
        if hint is not None and outcome.kind in {THROTTLED, FAILURE}:
            outcome = outcome._replace(retry_after=max(hint, outcome.retry_after or 0.0))
        return outcome
    sent = _sent(error)
    if sent is None:
        return Outcome(UNKNOWN, message=name)  # the function's own error: repeating it repeats the mistake
    return Outcome(FAILURE, sent=sent, message=name)


def status_of(result: object) -> int | None:
    """Read the HTTP status of an answer, however its client calls it; None for what is no answer."""
    status = getattr(result, "status_code", None)
    if status is None and hasattr(result, "headers"):
        status = getattr(result, "status", None)
    return status if _is_status(status) else None


def headers_of(thing: object) -> dict[str, str] | None:
    """Give the fields of an answer, or of the answer that an exception carries, by lower-case name."""
    for holder in (getattr(thing, "response", None), thing):
        headers = getattr(holder, "headers", None)
        if headers is not None and hasattr(headers, "items"):
            return _lowered(headers)
    return None


def _lowered(headers: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _is_status(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599


def _of_status(status: int, headers: dict[str, str] | None, message: str | None) -> Outcome:
    if status < 400:
        return Outcome(SUCCESS, status)
    retry_after = _retry_after((headers or {}).get("retry-after"))
    if status == 429:
        return Outcome(THROTTLED, status, retry_after, message=message)
    if status >= 500 or status in {
        408,
        499,
    }:  # these two are the service's or a network's clock, not the caller's fault
        return Outcome(FAILURE, status, retry_after, message=message)
    return Outcome(REJECTED, status, message=message)


def _retry_after(text: str | None) -> float | None:
    """Read Retry-After, seconds or a date, as seconds from now."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _status_of_exception(error: Exception) -> int | None:
    candidates = [
        getattr(getattr(error, "response", None), "status_code", None),
        getattr(error, "status_code", None),
        getattr(error, "code", None),
        getattr(error, "status", None),
    ]
    for candidate in candidates:
        value = candidate
        if callable(value) and _root(type(error)) == "grpc":
            value = GRPC_STATUSES.get(getattr(value(), "name", ""))
        if _is_status(value) and value >= 400:
            return value
    return None


def _retry_delay(error: Exception) -> float | None:
    """Find google.rpc.RetryInfo's delay in what Google's clients keep of an answer; in seconds."""
    details = getattr(error, "details", None)
    if isinstance(details, dict):
        inner = details.get("error", details)
        details = inner.get("details") if isinstance(inner, dict) else None
    if not isinstance(details, (list, tuple)):
        return None
    for detail in details:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else getattr(detail, "retry_delay", None)
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                continue
        seconds, nanos = getattr(delay, "seconds", None), getattr(delay, "nanos", 0)
        if isinstance(seconds, int) and isinstance(nanos, int):
            return max(0.0, seconds + nanos / 1e9)
    return None


def _sent(error: Exception) -> bool | None:
    """Whether a failed connection had carried something; None for an error that is no connection's."""
    unclear = False
    for one in _causes(error):
        names = {kind.__name__ for kind in type(one).__mro__ if _root(kind) in HTTP_LIBRARIES}
        if names & CALLERS_OWN:
            return None
        if isinstance(one, (ConnectionRefusedError, socket.gaierror)) or names & NEVER_SENT:
            return False
        if isinstance(one, (ConnectionError, TimeoutError)) and not names & UNCLEAR:
            return True
        if names & MAYBE_SENT:
            return True
        unclear = unclear or bool(names & UNCLEAR)
        if not (unclear or names):
            return None
    return True if unclear else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it came from, the nearest first: clients keep it in several places."""
    line: list[BaseException] = [error]
    seen: set[int] = set()
    while line and len(seen) < DEPTH:
        one = line.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kept = (getattr(one, "reason", None), getattr(one, "cause", None), *one.args, one.__cause__, one.__context__)
        line += [inner for inner in kept if isinstance(inner, BaseException)]


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]
