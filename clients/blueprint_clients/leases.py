"""The lease of a run: the sidecar counts a run as alive while this process holds its lease."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

from blueprint_clients import forking
from blueprint_clients.environment import environment, run_named
from blueprint_clients.errors import BlueprintError, ConfigurationError, SidecarUnreachable
from blueprint_clients.notices import LOG, say_once
from blueprint_clients.sidecar import sidecar_of
from blueprint_clients.wire import BadAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blueprint_clients.sidecar import Sidecar
    from blueprint_clients.wire import Connection

SILENCE_S = 30.0
"""The sidecar says that it is alive every 10 s: after three of these that did not come, the lease is attached anew."""

PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Between tries to attach again; the last one goes on. A sidecar that restarts is back within 1 s."""

HOLD_PATIENCE_S = 5.0
"""For the sidecar's word that the lease is held."""

GONE = {404, 410}


class Lease:
    """A run that this process holds. `Lease.take()` begins one, `end()` ends it.

    `id` is the authority over the run: whoever knows it can end it. `scope` is SCENE~JOB. `ended` is why the lease is
    over, None while it is held. A forked child shares the run and its `id`, but neither holds the lease nor ends it.
    """

    def __init__(self, sidecar: Sidecar, said: dict[str, Any]) -> None:
        self.id = str(said["id"])
        self.scope = str(said.get("scope", ""))
        self.deadline_s: float | None = said.get("deadline_s")
        self.ended: str | None = None
        self._sidecar = sidecar
        self._ending = False
        self._connection: Connection | None = None
        self._over = threading.Event()
        forking.watch(self)

    def __repr__(self) -> str:
        return f"Lease({self.scope!r})"  # the id is a credential

    @classmethod
    def take(
        cls,
        job_name: str | None = None,
        scene_id: str | None = None,
        *,
        bucket: str | None = None,
        deadline_s: float | None = None,
        pid: int | None = None,
        input_params: dict[str, Any] | None = None,
        sidecar: Sidecar | None = None,
    ) -> Lease:
        """Begin a run and hold it in a thread of its own; it becomes this process's run.

        `pid` names the process whose death ends the run, this one by default: a child of this one, of the same user.
        What is not given comes from JOB_NAME, SCENE_ID and BUCKET. ConfigurationError where neither says it, or with
        BLUEPRINT_PROXY=off; BlueprintError with status 409 while another process holds the same scene and job.
        """
        job = environment()
        sidecar = sidecar_of(job) if sidecar is None else sidecar
        if sidecar is None:
            raise ConfigurationError("BLUEPRINT_PROXY=off: without a sidecar there is no lease to take")
        wanted = {
            "job_name": job_name or job.job_name,
            "scene_id": scene_id or job.scene_id,
            "bucket": bucket or job.bucket,
            "deadline_s": deadline_s,
            "pid": os.getpid() if pid is None else pid,
            "input_params": input_params,
        }
        missing = [name for name in ("job_name", "scene_id") if not wanted[name]]
        if missing:
            raise ConfigurationError(f"a run needs {' and '.join(missing)}: say them, or set JOB_NAME and SCENE_ID")
        said = sidecar.ask("POST", "/v1/runs", {name: value for name, value in wanted.items() if value is not None})
        if not isinstance(said.get("id"), str):
            raise SidecarUnreachable(f"{sidecar} gave a run without an id")
        lease = cls(sidecar, said)
        lease._hold()
        return lease

    @property
    def held(self) -> bool:
        """Whether the sidecar is told right now that this run lives."""
        return self._connection is not None and not self._over.is_set()

    def end(
        self,
        outcome: str = "success",
        *,
        exit_status: int | None = None,
        signal: int | None = None,
        message: str | None = None,
    ) -> None:
        """End the run as "success", "failure" or "cancelled". Again, or in a forked child, it does nothing.

        BlueprintError where the sidecar does not take it; the lease is given up all the same.
        """
        if self._over.is_set():
            return
        self._ending = True
        self.ended = outcome
        told = {"outcome": outcome, "exit_status": exit_status, "signal": signal, "message": message}
        try:
            self._sidecar.ask(
                "POST", f"/v1/runs/{self.id}/end", {name: value for name, value in told.items() if value is not None}
            )
        finally:
            self._give_up(outcome)

    def after_fork_in_child(self) -> None:
        """Let go of the connection: only the parent's end of it says that the run lives."""
        self._connection = None  # wire.py has closed this process's end of it
        self._over = threading.Event()
        self._over.set()

    def _hold(self) -> None:
        global _held  # noqa: PLW0603 -- one process has one run at a time: its newest
        try:
            self._connection, events = self._attach()
        except BlueprintError:
            self._over.set()
            raise
        threading.Thread(target=self._watch, args=(events,), name="blueprint-lease", daemon=True).start()
        _held = self

    def _attach(self) -> tuple[Connection, Iterator[dict[str, Any]]]:
        connection = self._sidecar.stream(f"/v1/runs/{self.id}/lease", patience=HOLD_PATIENCE_S)
        try:
            events = _events(connection)
            held = next(events, {}).get("event") == "held"
            connection.patience(SILENCE_S)
        except (OSError, BadAnswer) as error:
            connection.close()
            raise SidecarUnreachable(f"the lease of {self.scope} broke at its beginning: {error}") from error
        if not held:
            connection.close()
            raise SidecarUnreachable(f"{self._sidecar} does not hold the lease of {self.scope}")
        return connection, events

    def _watch(self, events: Iterator[dict[str, Any]]) -> None:
        while not self._over.is_set():
            try:
                for event in events:
                    if event.get("event") == "ended":
                        self._lose(str(event.get("why", "ended by the sidecar")))
                        return
            except (OSError, BadAnswer):
                pass  # attached anew below
            again = self._attach_again()
            if again is None:
                return
            events = again

    def _attach_again(self) -> Iterator[dict[str, Any]] | None:
        self._drop()
        tries = 0
        while not self._over.wait(PAUSES_S[min(tries, len(PAUSES_S) - 1)]):
            tries += 1
            try:
                connection, events = self._attach()
            except SidecarUnreachable:
                say_once(f"lease {self.id}", "the lease of %s is broken; attaching it again", self.scope)
            except BlueprintError as refused:
                if refused.status in GONE:
                    self._lose("the sidecar no longer knows this run")
                    return None
            else:
                self._connection = connection
                if self._over.is_set():  # ended meanwhile
                    self._drop()
                return events
        return None

    def _lose(self, why: str) -> None:
        if not self._ending:
            LOG.warning("the lease of %s is over: %s", self.scope, why)
        self._give_up(why)

    def _give_up(self, why: str) -> None:
        global _held  # noqa: PLW0603 -- as above
        self.ended = self.ended or why
        self._over.set()
        self._drop()
        if _held is self:
            _held = None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


_held: Lease | None = None


def run_of_this_process() -> str | None:
    """Give the run that calls of this process belong to: that of its lease, else BLUEPRINT_RUN."""
    lease = _held
    return run_named() if lease is None else lease.id


def _events(connection: Connection) -> Iterator[dict[str, Any]]:
    """Read JSON lines from the chunks of an answer."""
    rest = b""
    for piece in connection.chunks():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > 64 * 1024:
            raise BadAnswer("the lease has a line without an end")
        for line in lines:
            if line.strip():
                try:
                    event = json.loads(line)
                except ValueError as error:
                    raise BadAnswer("the lease has a line that is not JSON") from error
                if isinstance(event, dict):
                    yield event
