"""What a kind knows of its service, beside what every HTTP service shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from blueprint_proxy.calls import Verdict

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Reply
    from blueprint_proxy.http1.heads import RequestHead


READS = frozenset({"GET", "HEAD"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def bounded(method: str) -> str:
    """The method as a part of an operation's name: jobs may make methods up, and names have a bound."""
    return method if method in _METHODS else "other"


class Operation(NamedTuple):
    """What a request is: a bounded `name`, and whether it may be sent twice.

    `invocation` is the same for every repeat that the job's SDK makes of one call by itself, where it says so.
    """

    name: str
    repeatable: bool
    invocation: bytes | None = None


class Judging(Protocol):
    """What an attempt's layer asks of a kind."""

    def judge(self, call: Call, reply: Reply) -> Verdict:
        """What a reply with a status of 400 or more says."""


class Kind(Protocol):
    """The domain knowledge about one sort of service. Stateless: what a call's upstream remembers is elsewhere."""

    @property
    def credential_header(self) -> tuple[str, str]:
        """The field that carries a credential by default: its name in lower case, and a template with `{}`."""

    @property
    def credential_fields(self) -> frozenset[bytes]:
        """Lower-case names of fields by which a job would bring its own credential: dropped where we have one."""

    @property
    def credential_parameters(self) -> frozenset[bytes]:
        """Names of query parameters that would do the same."""

    @property
    def rejection_statuses(self) -> frozenset[int]:
        """Statuses with which the service may refuse a credential: replies with another one are not looked at."""

    def rejects_credential(self, status: int, body: bytes) -> bool:
        """Whether such a reply, with its body in plain, refuses the credential itself, and a newer one may help."""

    def operation(self, head: RequestHead, target: bytes) -> Operation:
        """What the request `head` asks for at `target`, the raw path and query under the upstream's url."""

    def judge(self, call: Call, reply: Reply) -> Verdict:
        """What a reply with a status of 400 or more says."""


UNAUTHORISED = frozenset({401})


def rejects_by_status(_status: int, _body: bytes) -> bool:
    """A 401 says it all (RFC 9110 §15.5.2). A 403 is about what a valid credential may do: another key is no cure."""
    return True


def judge_status(call: Call, reply: Reply) -> Verdict:
    """The judgement that HTTP's own meanings give: what every kind starts from.

    501 and 505 are answers about the request and not about the upstream's health (RFC 9110 §15.6); a 4xx is the
    caller's fault unless the configuration lists it among what may be repeated.
    """
    status = reply.status
    if status == 429:
        return Verdict.THROTTLED
    if status in call.policies.retry.on:
        return Verdict.RETRYABLE
    if status < 500 or status in {501, 505}:
        return Verdict.FATAL
    return Verdict.RETRYABLE
