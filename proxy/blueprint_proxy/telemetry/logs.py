"""Log lines, made from events: JSON with Cloud Logging's field names, or a short form where a person watches.

A call that went well has no line: one costs 15 us, about as much as the call. Lines of one kind about one upstream are
bounded per second, so that a storm cannot fill a disk; what was left out is counted under "suppressed".
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import time
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from blueprint_proxy.telemetry import events
from blueprint_proxy.telemetry.events import CallFinished, Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    import structlog

    from blueprint_proxy.telemetry.redaction import Redactor
    from blueprint_proxy.telemetry.stream import Telemetry
else:

    def _structlog_without_rich() -> Any:
        """Import structlog (3 MiB) with rich hidden: it would load it for tracebacks not used here (7 MiB more)."""
        hidden = "rich" not in sys.modules
        if hidden:
            sys.modules["rich"] = None
        try:
            return importlib.import_module("structlog")
        finally:
            if hidden:
                del sys.modules["rich"]

    structlog = _structlog_without_rich()

MOST_PER_SECOND = 20
"""Lines of one event about one upstream."""

MOST_WINDOWS = 4096
"""Pairs of event and upstream that are told apart: 256 upstreams have all of theirs. Later ones share a bound."""

Line = MutableMapping[str, Any]


@dataclass(slots=True)
class _Window:
    """One second of one kind of line. `start` is in seconds since 1970."""

    upstream: str
    start: float = 0.0
    lines: int = 0
    suppressed: int = 0


class Wording(NamedTuple):
    """How an event reads: Cloud Logging's severity, and two format strings over the event's fields.

    `message` says what happened, and to which call; `advice` what to do about it, where there is something to do.
    """

    severity: str
    message: str
    advice: str = ""


WORDINGS: dict[type[Any], Wording] = {
    events.CallFinished: Wording(
        "WARNING",
        "{upstream} {operation}: {outcome}, {status} after {duration:.3f} s",
        "the attempt_failed lines of request {request_id} say what each try met",
    ),
    events.AttemptFailed: Wording(
        "WARNING",
        "{upstream} {operation}: attempt {attempt} failed ({fault}): {message}",
        "the upstream's own log at this time says more; `blueprint-proxy explain {upstream}` shows what is repeated",
    ),
    events.RetryScheduled: Wording("INFO", "{upstream} {operation}: next attempt in {wait:.3f} s ({fault})"),
    events.RetryAbandoned: Wording(
        "WARNING",
        "{upstream} {operation}: attempt {attempt} not repeated: {why}",
        "`blueprint-proxy explain {upstream}` shows the retry settings that decided so",
    ),
    events.BreakerChanged: Wording(
        "WARNING",
        "{upstream} breaker {owner}: {old} to {new}: {why}",
        "`blueprint-proxy status` shows every breaker; POST /v1/upstreams/{upstream}/breaker resets one",
    ),
    events.CallRefused: Wording(
        "WARNING",
        "{upstream} {operation}: refused: {reason}",
        "the README's table of refusals says what each reason asks for",
    ),
    events.WouldHave: Wording("INFO", "{upstream} {operation}: enforce would have done: {what}"),
    events.BodyNotReplayable: Wording("INFO", "{upstream} {operation}: body not kept after {size} bytes: {why}"),
    events.RateChanged: Wording("INFO", "{upstream}: rate is now {rate} per second, held for {held_for:.3g} s"),
    events.RepeatRecognised: Wording("INFO", "{upstream} {operation}: an SDK's own repeat answered without an attempt"),
    events.ReplyTruncated: Wording(
        "WARNING",
        "{upstream} {operation}: reply cut short after {received} bytes",
        "the job's connection was broken, so that it asks again; look for restarts of {upstream}",
    ),
    events.BadRequest: Wording(
        "WARNING",
        "bad request over {peer}, answered {status}: {message}",
        "the client has to be mended: nothing was sent on",
    ),
    events.ConfigurationLoaded: Wording("INFO", "configuration in force: {source}"),
    events.ConfigurationRejected: Wording(
        "ERROR",
        "configuration rejected, the one before stays in force: {problems}",
        "mend the file and check it with `blueprint-proxy validate`; it is read again when it changes",
    ),
    events.CredentialMissing: Wording(
        "ERROR",
        "{upstream}: calls are refused for want of {secret_id} ({why})",
        "put {secret_id} in one of those places; it is looked for again by itself",
    ),
    events.CredentialRejected: Wording(
        "WARNING",
        "{upstream} does not take {secret_id}; {operation}: {outcome}",
        "see that the newest version of {secret_id} is one that {upstream} takes",
    ),
    events.SecretsLoaded: Wording("INFO", "secrets are loaded: {found}"),
    events.SecretsMissing: Wording(
        "WARNING",
        "secrets are missing: {missing}",
        "put them in one of those places, or set the upstream's credential to none",
    ),
    events.SecretsFellBack: Wording(
        "WARNING",
        "secrets are from a later place: {found}",
        "see why the earlier place cannot be asked; a rotation there is not seen meanwhile",
    ),
    events.SecretsKept: Wording(
        "WARNING",
        "last good values stay in use, the oldest {age:.0f} s old: {kept}",
        "see why their place cannot be asked; a rotation there is not seen meanwhile",
    ),
    events.SecretChanged: Wording("INFO", "{secret_id} is now from {origin}"),
    events.SecretHandedOut: Wording("INFO", "{secret_id}, from {origin}, was handed to a job"),
    events.SecretManagerUnused: Wording("INFO", "Secret Manager is not asked: {why}"),
    events.NotHardened: Wording(
        "WARNING",
        "{why}",
        "a core dump or a debugger of this user may show secrets; allow it, or accept that",
    ),
    events.Listening: Wording("INFO", "{listener} listens on {address}"),
    events.Draining: Wording("INFO", "draining: {in_flight} calls have {grace:g} s to end"),
    events.Stopped: Wording("INFO", "stopped, drained: {drained}"),
    events.RunStarted: Wording("INFO", "run {run}: started, its process is watched: {watched}"),
    events.RunEnded: Wording("INFO", "run {run}: ended after {duration:.3g} s, {calls} calls: {why}, {outcome}"),
    events.RunRefused: Wording(
        "WARNING",
        "lease refused ({why}): {message}",
        "end the run that is live, or wait for its end; `blueprint-proxy runs` lists them",
    ),
    events.RunUnknown: Wording(
        "WARNING",
        "calls name the run {run}, which has no live lease: they go on without one",
        "start the job anew under blueprint-run, which takes a lease",
    ),
    events.CallLogFailed: Wording(
        "ERROR",
        "the call log cannot be written: {reason}",
        "make room under state_dir; calls of this time will be missing from `logs` and `what-if`",
    ),
    events.CallLogDropped: Wording(
        "WARNING",
        "{count} calls are missing from the call log",
        "more than 2,048 a second are not logged, nor is any while the log cannot be written",
    ),
    events.SpoolFailed: Wording(
        "ERROR",
        "the spool of request bodies cannot be written: {reason}",
        "make room under state_dir; until then a large body is not repeated",
    ),
    events.CallJoined: Wording("INFO", "{upstream} {operation}: a repeat takes over the call that its caller left"),
    events.AppErrorSeen: Wording(
        "WARNING",
        "{upstream} {operation}: an error inside of an OK",
        "the simulator could not do what the job asked: its reply and x-blueprint-app-error say why",
    ),
    events.SimulatorChanged: Wording(
        "WARNING",
        "{upstream}: the simulator is {new} in epoch {epoch} {why}",
        "a job calls init_robot in every new epoch; `unverified`: nothing is sent again until it does",
    ),
    events.SimulatorHung: Wording(
        "ERROR",
        "{upstream} {operation}: hangs after {age:.3g} s; {remedy}",
        "with upstreams.{upstream}.restart a hung simulator is started again by itself",
    ),
    events.SimulatorRestarted: Wording(
        "WARNING",
        "{upstream}: restart of the simulator {outcome}, exit {exit_code}, {wait:.3g} s to wait",
        "put_off: cooldown and per_hour of upstreams.{upstream}.restart say when it may be next",
    ),
    events.CallQuarantined: Wording(
        "ERROR",
        "{upstream} {operation}: not sent any more by this run: {what}",
        "the same call was in flight each time: look at what it asks for",
    ),
}

WORTH_A_LINE = frozenset({"failed", "throttled", "deadline"})
"""Outcomes of a call that are logged. A refusal and a truncation have their own events; the caller's own faults and
leaving are routine."""


MOST_CHARACTERS = 16_384
"""Of one field of a line. Cloud Logging takes entries of 256 KiB."""

_FIRST = ("time", "severity", "message", "event", "detail", "stack_trace")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def _short_form(_logger: object, _method: str, line: Line) -> str:
    """Render for a person: the time of day, the message, the rest as name=value, and a traceback below.

    Control characters are escaped: what an upstream said must not move a terminal's cursor or fake a line.
    """
    rest = " ".join(f"{name}={value}" for name, value in line.items() if name not in _FIRST and value is not None)
    text = f"{line['time'][11:23]} {line['severity']:8} {line['message']}  {rest}".rstrip()
    trace = line.get("stack_trace", "").splitlines()
    return "\n    ".join(part.translate(_CONTROLS) for part in (text, *trace))


_SEVERITIES = {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEFAULT"}  # logging's words that Google's lack


class Logs:
    """Writes events, and what the standard library logs, as lines to `stream`.

    `console` chooses the short form; by default it is for terminals. `wall` gives seconds since 1970. A stream that
    cannot be written loses lines, which `lost` counts, and never fails a call.
    """

    def __init__(
        self,
        stream: TextIO,
        redactor: Redactor,
        *,
        console: bool | None = None,
        wall: Callable[[], float] = time.time,
        most_per_second: int = MOST_PER_SECOND,
    ) -> None:
        self.lost = 0
        self._stream = stream
        self._redactor = redactor
        self._wall = wall
        self._most = most_per_second
        self._windows: dict[tuple[str, str], _Window] = {}
        short = stream.isatty() if console is None else console
        self._logger = structlog.wrap_logger(
            self,
            processors=[self._redact, _short_form if short else structlog.processors.JSONRenderer()],
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
            cache_logger_on_first_use=True,
        )

    def attach(self, telemetry: Telemetry) -> None:
        """Subscribe to every event type; of calls, only those that ended badly are written."""
        telemetry.subscribe(self._call_finished, [CallFinished])
        telemetry.subscribe(self.event, [kind for kind in WORDINGS if kind is not CallFinished])

    def event(self, event: Event) -> None:
        """Write one event. KeyError for a type without a wording."""
        wording = WORDINGS[type(event)]
        fields = event.to_dict()
        message = wording.message.format_map(fields)
        if "message" in fields:
            fields["detail"] = fields["message"]
        if wording.advice:
            fields["advice"] = wording.advice.format_map(fields)
        del fields["event"]
        self.line(event.name, wording.severity, message, fields, upstream=str(fields.get("upstream", "")))

    def line(self, name: str, severity: str, message: str, fields: Line, *, upstream: str = "") -> None:
        """Write one line, unless too many of this name and upstream were written in this second."""
        now = self._wall()
        key = (name, upstream)
        if key not in self._windows and len(self._windows) >= MOST_WINDOWS:
            key = (name, "")
        window = self._windows.setdefault(key, _Window(key[1]))
        if not 0 <= now - window.start < 1:  # also when the clock was set back
            self._close(name, window, now)
        window.lines += 1
        if window.lines > self._most:
            window.suppressed += 1
            return
        self._put(name, severity, message, fields, now)

    def flush(self) -> None:
        """Write what storms left out so far. For the end of the process and, now and then, in between."""
        now = self._wall()
        for (name, _), window in self._windows.items():
            self._close(name, window, now)

    def msg(self, line: str) -> None:
        """Write a finished line. structlog calls this by its name, last of all."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError:  # nobody reads, or the disk is full: a call must not fail for its log line
            self.lost += 1

    def _call_finished(self, event: CallFinished) -> None:
        if event.outcome in WORTH_A_LINE:
            self.event(event)

    def _close(self, name: str, window: _Window, now: float) -> None:
        suppressed, window.start, window.lines, window.suppressed = window.suppressed, now, 0, 0
        if suppressed:
            message = f"{suppressed} more lines of {name} were left out"
            self._put(name, "WARNING", message, {"suppressed": suppressed, "upstream": window.upstream}, now)

    def _put(self, name: str, severity: str, message: str, fields: Line, now: float) -> None:
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self._logger.msg(name, **{**fields, "severity": severity, "time": stamp, "message": message})

    def _redact(self, _logger: object, _method: str, line: Line) -> Line:
        clean = {name: self._redactor.value(value, name) for name, value in line.items()}
        return {name: value[:MOST_CHARACTERS] if isinstance(value, str) else value for name, value in clean.items()}


class StandardLogging(logging.Handler):
    """Brings what libraries say through `logging` (asyncio's unhandled errors, uvicorn's) into the same lines."""

    def __init__(self, logs: Logs, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with its traceback under Cloud Error Reporting's name."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return  # an order to end, which uvicorn reports as an error when requests are cut at the end of the process
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["stack_trace"] = "".join(traceback.format_exception(*record.exc_info))
        severity = _SEVERITIES.get(record.levelname, record.levelname)
        self._logs.line("log", severity, record.getMessage(), fields)
