"""One immutable event type per thing that happens: a stable schema, which other tools read.

Every event has a class attribute `name` and `to_dict()`, which gives `{"event": name, field: value, ...}` in base
units: seconds, bytes, requests per second. An event holds names from the configuration, bounded words, numbers, ids and
messages written by this proxy; never a header, a body, a target or a secret's value. `upstream` is "" where none was
found for the call. When it happened is for the sink to stamp: making an event reads no clock.

`CallFinished` is made for every call, so it is a NamedTuple: built in a third of a microsecond, where a frozen
dataclass of its size takes four times that (CPython 3.11). The others are rare, and are dataclasses, which equal only
their own type.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import ClassVar, NamedTuple, Protocol


class Event(Protocol):
    """What every sink may rely on."""

    @property
    def name(self) -> str:
        """The event's word in the stable schema, such as `call_finished`."""

    def to_dict(self) -> dict[str, object]:
        """Give the event's name under "event" and then every field, as JSON's own types."""


OUTCOMES = ("ok", "client_error", "throttled", "failed", "refused", "truncated", "cancelled", "deadline")
"""How a call can end, for the job. `client_error` is the caller's own fault (most 4xx); `throttled` is a 429 passed on;
`failed` is the upstream's failure passed on; `refused` is this proxy's own word."""


def _plain(value: object) -> object:
    """JSON's own types: an enum member is its value, a tuple a list."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [item._asdict() if isinstance(item, Try) else item for item in value]
    return value


class Try(NamedTuple):
    """An attempt that failed. `fault` and `verdict` are AttemptFailed's words; `wait` is the back-off that followed.

    `duration`, from the request for a place to the failure, and `wait` are in seconds; `wait` None: none followed.
    """

    fault: str
    verdict: str
    duration: float
    wait: float | None


class _CallFinishedFields(NamedTuple):
    """The fields of CallFinished, in order."""

    upstream: str
    operation: str
    outcome: str
    status: int
    reason: str | None
    attempts: int
    duration: float
    request_id: str
    run: str | None
    bytes_in: int
    bytes_out: int
    source: str
    repeatable: bool = False
    deadline: float | None = None
    queued: float = 0.0
    trace: str | None = None
    tries: tuple[Try, ...] = ()


class CallFinished(_CallFinishedFields):
    """A call ended, however it ended. `duration` is in seconds, from the head's arrival to the reply's last byte.

    `outcome` is one of OUTCOMES; `status` is what the job saw (0 when it left before); `reason` is the contract's word
    of a refusal; `bytes_in` came from the job and `bytes_out` went to it, bodies only; `source` is upstream, journal,
    proxy, or job for a function that the job ran itself. `repeatable`: it might have been sent twice. `deadline` is in
    seconds from the head's arrival; `queued` are the seconds that it waited for the rate and for a place. `trace` is
    the job's trace id, `tries` are the attempts that failed, in order.
    """

    __slots__ = ()
    name: ClassVar[str] = "call_finished"

    def to_dict(self) -> dict[str, object]:
        """Give the event's name under "event" and then every field, as JSON's own types."""
        return {"event": self.name} | {field: _plain(value) for field, value in self._asdict().items()}


class _Record:
    """What the dataclasses below share; mypy cannot know that every subclass is one, hence the ignore."""

    __slots__ = ()
    name: ClassVar[str]

    def to_dict(self) -> dict[str, object]:
        """Give the event's name under "event" and then every field, as JSON's own types."""
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {"event": self.name} | values


@dataclass(frozen=True, slots=True)
class AttemptFailed(_Record):
    """One try brought no good reply. `fault` is a word of `retry.on` or a status; `verdict` the kind's view of it.

    `attempt` counts from 1. `sent`: False when no byte left this host. `trace` is the job's trace id.
    """

    name: ClassVar[str] = "attempt_failed"
    upstream: str
    operation: str
    request_id: str
    attempt: int
    fault: str
    verdict: str
    sent: bool
    message: str
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class RetryScheduled(_Record):
    """Another try follows after `wait` seconds. `hint`: the wait, in seconds, that the upstream asked for."""

    name: ClassVar[str] = "retry_scheduled"
    upstream: str
    operation: str
    request_id: str
    attempt: int
    wait: float
    fault: str
    hint: float | None


@dataclass(frozen=True, slots=True)
class RetryAbandoned(_Record):
    """A failed try is not repeated. `why` is a bounded word, such as not_repeatable, attempts, budget or deadline."""

    name: ClassVar[str] = "retry_abandoned"
    upstream: str
    operation: str
    request_id: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class BreakerChanged(_Record):
    """A breaker went from state `old` to `new`. `owner` is the operation it guards, or "" for the whole upstream.

    `retry_after`: seconds until it may let a probe through, where it is open.
    """

    name: ClassVar[str] = "breaker_changed"
    upstream: str
    owner: str
    old: str
    new: str
    why: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class CallRefused(_Record):
    """This proxy answered in the upstream's place. `reason` is the contract's word; `retry_after` is in seconds."""

    name: ClassVar[str] = "call_refused"
    upstream: str
    operation: str
    request_id: str
    reason: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class WouldHave(_Record):
    """In `mode: observe`: what `enforce` would have done. `what` is a bounded word, such as a refusal's reason."""

    name: ClassVar[str] = "would_have"
    upstream: str
    operation: str
    request_id: str
    what: str


@dataclass(frozen=True, slots=True)
class BodyNotReplayable(_Record):
    """A request body outgrew what is kept of it (or the spool failed); the call goes on and is not repeated.

    `size` is the bytes seen by then.
    """

    name: ClassVar[str] = "body_not_replayable"
    upstream: str
    operation: str
    request_id: str
    why: str
    size: int


@dataclass(frozen=True, slots=True)
class RateChanged(_Record):
    """The rate towards an upstream is now `rate` requests per second, after none at all for `held_for` seconds.

    `rate` None: no rate is configured, only the hold counts.
    """

    name: ClassVar[str] = "rate_changed"
    upstream: str
    rate: float | None
    held_for: float


@dataclass(frozen=True, slots=True)
class RepeatRecognised(_Record):
    """An SDK's own repeat of a call that was given up on or refused: answered at once, without an attempt."""

    name: ClassVar[str] = "repeat_recognised"
    upstream: str
    operation: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ReplyTruncated(_Record):
    """A reply's body ended early, after `received` bytes; the job's connection was broken on purpose."""

    name: ClassVar[str] = "reply_truncated"
    upstream: str
    operation: str
    request_id: str
    received: int


@dataclass(frozen=True, slots=True)
class BadRequest(_Record):
    """A peer sent what is not acceptable HTTP. `peer` is the sort of connection (tcp, unix), never an address."""

    name: ClassVar[str] = "bad_request"
    peer: str
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class ConfigurationLoaded(_Record):
    """A configuration is in force. `source` is the file, or "built-in"."""

    name: ClassVar[str] = "configuration_loaded"
    source: str


@dataclass(frozen=True, slots=True)
class ConfigurationRejected(_Record):
    """A changed configuration has problems; the one before stays in force."""

    name: ClassVar[str] = "configuration_rejected"
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CredentialMissing(_Record):
    """Calls are refused for want of an upstream's credential. `secret_id` names it; `why`: where it was looked for."""

    name: ClassVar[str] = "credential_missing"
    upstream: str
    secret_id: str
    why: str


@dataclass(frozen=True, slots=True)
class CredentialRejected(_Record):
    """An upstream does not take our credential. `outcome` is repeated (there was a new value), unchanged or too_late.

    too_late: there was a new value, and the request's body was not kept for another try.
    """

    name: ClassVar[str] = "credential_rejected"
    upstream: str
    operation: str
    request_id: str
    secret_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class SecretsLoaded(_Record):
    """Every secret was looked for. `found` says of each that is there, by its id, where it is from."""

    name: ClassVar[str] = "secrets_loaded"
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretsMissing(_Record):
    """Secrets that are in none of their places: each by its id, with the places and why each had none."""

    name: ClassVar[str] = "secrets_missing"
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretsFellBack(_Record):
    """Secrets from a later place, because an earlier one could not be asked: each by its id, with both places."""

    name: ClassVar[str] = "secrets_fell_back"
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecretsKept(_Record):
    """Secrets whose last good value stays in use, because their place could not be asked or has none any more.

    `age`: seconds since the oldest of them was last found there.
    """

    name: ClassVar[str] = "secrets_kept"
    kept: tuple[str, ...]
    age: float


@dataclass(frozen=True, slots=True)
class SecretChanged(_Record):
    """A secret has a new value, version or place, `origin`. `early`: looked for because an upstream complained."""

    name: ClassVar[str] = "secret_changed"
    secret_id: str
    origin: str
    early: bool


@dataclass(frozen=True, slots=True)
class SecretHandedOut(_Record):
    """A job read a secret that jobs.secrets names."""

    name: ClassVar[str] = "secret_handed_out"
    secret_id: str
    origin: str


@dataclass(frozen=True, slots=True)
class SecretManagerUnused(_Record):
    """Secret Manager is in the order and is not asked."""

    name: ClassVar[str] = "secret_manager_unused"
    why: str


@dataclass(frozen=True, slots=True)
class NotHardened(_Record):
    """Something that keeps the process's memory to itself could not be done."""

    name: ClassVar[str] = "not_hardened"
    why: str


@dataclass(frozen=True, slots=True)
class Listening(_Record):
    """A listener is open. `listener` is http, grpc or admin; `address` is HOST:PORT or unix:/path."""

    name: ClassVar[str] = "listening"
    listener: str
    address: str


@dataclass(frozen=True, slots=True)
class Draining(_Record):
    """No new calls; the `in_flight` ones have `grace` seconds to end."""

    name: ClassVar[str] = "draining"
    grace: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class Stopped(_Record):
    """The proxy has stopped. `drained`: every call ended by itself within the grace."""

    name: ClassVar[str] = "stopped"
    drained: bool


@dataclass(frozen=True, slots=True)
class SpoolFailed(_Record):
    """The disk spool of request bodies cannot be written; calls go on with what memory holds."""

    name: ClassVar[str] = "spool_failed"
    reason: str


@dataclass(frozen=True, slots=True)
class RunStarted(_Record):
    """A job took a lease. `run` is the run's public name, never the lease's id; `deadline` is in seconds from now.

    `watched`: its process is, so that its end is seen; else `why` says what kept us from it.
    """

    name: ClassVar[str] = "run_started"
    run: str
    scene_id: str
    job_name: str
    bucket: str | None
    deadline: float | None
    watched: bool
    why: str | None


@dataclass(frozen=True, slots=True)
class RunEnded(_Record):
    """A run is over after `duration` seconds and `calls` calls. `why` is one of runs.run.WHYS.

    `outcome` is success, failure, cancelled, or unknown where nobody said. `exit_status` and `signal` are waitpid's.
    """

    name: ClassVar[str] = "run_ended"
    run: str
    why: str
    outcome: str
    duration: float
    exit_status: int | None
    signal: int | None
    calls: int


@dataclass(frozen=True, slots=True)
class RunRefused(_Record):
    """A lease was not given. `why` is conflict, full, draining or foreign_process."""

    name: ClassVar[str] = "run_refused"
    why: str
    message: str


@dataclass(frozen=True, slots=True)
class RunUnknown(_Record):
    """Calls name a lease that is not live: one that has `ended`, or of a proxy before its restart. They go on without.

    Told once for each id, of which `run` shows the first characters where no more is known.
    """

    name: ClassVar[str] = "run_unknown"
    run: str
    ended: bool


@dataclass(frozen=True, slots=True)
class CallLogFailed(_Record):
    """The call log on disk cannot be written; calls go on and are not logged there. Told once until it works again."""

    name: ClassVar[str] = "call_log_failed"
    reason: str


@dataclass(frozen=True, slots=True)
class CallLogDropped(_Record):
    """Calls are missing from the call log: more ended in a second than are kept, or it could not be written.

    Told at most once a minute.
    """

    name: ClassVar[str] = "call_log_dropped"
    count: int


@dataclass(frozen=True, slots=True)
class CallJoined(_Record):
    """A repeat takes over the call that its caller had left. `how`: in_flight, or kept where its answer had come."""

    name: ClassVar[str] = "call_joined"
    upstream: str
    operation: str
    request_id: str
    how: str


@dataclass(frozen=True, slots=True)
class AppErrorSeen(_Record):
    """A reply whose status is OK says that it failed. Its text is in the reply alone."""

    name: ClassVar[str] = "app_error_seen"
    upstream: str
    operation: str
    request_id: str


@dataclass(frozen=True, slots=True)
class SimulatorChanged(_Record):
    """A simulator went from phase `old` to `new`, or to another epoch. `why`: what is not known about it, or ""."""

    name: ClassVar[str] = "simulator_changed"
    upstream: str
    old: str
    new: str
    epoch: int
    why: str


@dataclass(frozen=True, slots=True)
class SimulatorHung(_Record):
    """The call in flight is older, at `age` seconds, than its method may be. `remedy` says what comes of it."""

    name: ClassVar[str] = "simulator_hung"
    upstream: str
    operation: str
    request_id: str
    age: float
    epoch: int
    remedy: str


@dataclass(frozen=True, slots=True)
class SimulatorRestarted(_Record):
    """The configured restart was done, failed, or was put_off for `wait` seconds. `output`: the end of what it said."""

    name: ClassVar[str] = "simulator_restarted"
    upstream: str
    outcome: str
    exit_code: int | None
    wait: float
    output: str


@dataclass(frozen=True, slots=True)
class CallQuarantined(_Record):
    """A call that was in flight each time the simulator went: its run cannot send it any more."""

    name: ClassVar[str] = "call_quarantined"
    upstream: str
    operation: str
    request_id: str
    what: str


ALL: tuple[type[Event], ...] = (
    CredentialRejected, SecretsLoaded, SecretsMissing, SecretsFellBack, SecretsKept, SecretChanged, SecretHandedOut,
    SecretManagerUnused, NotHardened,
    CallFinished, AttemptFailed, RetryScheduled, RetryAbandoned, BreakerChanged, CallRefused, WouldHave,
    BodyNotReplayable, RateChanged, RepeatRecognised, ReplyTruncated, BadRequest, ConfigurationLoaded,
    ConfigurationRejected, CredentialMissing, Listening, Draining, Stopped, SpoolFailed,
    RunStarted, RunEnded, RunRefused, RunUnknown, CallLogFailed, CallLogDropped,
    CallJoined, AppErrorSeen, SimulatorChanged, SimulatorHung, SimulatorRestarted, CallQuarantined,
)  # fmt: skip
"""Every event type, for sinks that must cover them all."""
