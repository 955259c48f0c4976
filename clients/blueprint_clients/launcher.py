"""`blueprint-run -- command ...`: runs a job as a run of the sidecar, and tells it how the job ended.

The job begins only when its lease is held, and finds its run in BLUEPRINT_RUN. It has a process group of its own, which
gets the signals that come here. What ended it is read with waitpid, so that a kill for memory and a crash are told as
what they were.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from blueprint_clients.environment import environment, with_variables
from blueprint_clients.errors import BlueprintError, ConfigurationError, SidecarUnreachable
from blueprint_clients.leases import Lease
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

OK, FAILED, BAD_USAGE, NOT_EXECUTABLE, NOT_FOUND = 0, 1, 2, 126, 127

PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
ASKS_TO_END = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class End(NamedTuple):
    """How the job ended: a code, or the signal that killed it. `asked`: it had been asked to."""

    exit_status: int | None
    signal: int | None
    asked: bool = False
    never_began: str | None = None

    @property
    def code(self) -> int:
        """The code to exit with, as a shell gives it: 128 and the signal's number for a killed job."""
        return 128 + self.signal if self.signal is not None else self.exit_status or 0

    @property
    def outcome(self) -> str:
        """The outcome in the sidecar's words."""
        if self.exit_status == 0:
            return "success"
        return "cancelled" if self.asked else "failure"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the job's code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a job to its end and give its exit code; 1 where the sidecar refuses the run, 2 for bad usage."""
    said = _parsed(arguments)
    try:
        sidecar = sidecar_of()
    except ConfigurationError as error:
        return _complain(str(error), BAD_USAGE)
    job = Job(said.command)
    try:
        if sidecar is not None:
            lease = Lease.take(
                said.job, said.scene, bucket=said.bucket, deadline_s=said.deadline, pid=job.pid, sidecar=sidecar
            )
            return _held(job, lease)
    except SidecarUnreachable as error:
        _complain(f"no sidecar, so the job runs without one: {error}", OK)
    except BlueprintError as error:
        job.call_off()
        return _complain(f"the sidecar refuses this run: {error}", FAILED)
    except ConfigurationError as error:
        job.call_off()
        return _complain(str(error), BAD_USAGE)
    job.begin({})
    return _exit_code(job.wait())


def _held(job: Job, lease: Lease) -> int:
    job.begin({"BLUEPRINT_RUN": lease.id})
    end = job.wait()
    try:
        lease.end(end.outcome, exit_status=end.exit_status, signal=end.signal, message=end.never_began)
    except BlueprintError as error:
        _complain(f"the sidecar was not told how the job ended: {error}", OK)
    return _exit_code(end)


def _exit_code(end: End) -> int:
    return end.code if end.never_began is None else _complain(end.never_began, end.code)


class Job:
    """A child that waits for `begin` before it becomes the command, so that its lease can name it first."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._asked = False
        self._lent = False
        go_read, self._go = os.pipe()
        self._failed, failed_write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            os.close(self._failed)
            _become(self._command, go_read, failed_write)
        os.close(go_read)
        os.close(failed_write)
        with contextlib.suppress(OSError):  # the child does the same: whoever comes first
            os.setpgid(self.pid, self.pid)

    def begin(self, variables: dict[str, str]) -> None:
        """Let it become the command, with these variables on top of the environment."""
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # an ignored one would wake nobody
        for name in PASSED_ON:
            signal.signal(getattr(signal, name), self._pass_on)
        self._lend_terminal()
        lines = "".join(f"{name}={value}\n" for name, value in variables.items())
        with contextlib.suppress(BrokenPipeError):  # killed already: wait() says so
            os.write(self._go, f"{lines}\n".encode())
        os.close(self._go)

    def call_off(self) -> None:
        """End it before it has become the command."""
        os.close(self._go)
        os.close(self._failed)
        os.waitpid(self.pid, 0)

    def wait(self) -> End:
        """Wait for its end."""
        with os.fdopen(self._failed, "rb") as failed:
            why = failed.read().decode(errors="replace") or None
        status = self._last_status()
        self._take_terminal()
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            by_key = self._lent and number in ASKS_TO_END  # the terminal's keys reach the job alone
            return End(None, number, self._asked or by_key, why)
        return End(os.WEXITSTATUS(status), None, self._asked, why)

    def _last_status(self) -> int:
        """Wait on what every signal writes to: in waitpid itself, one that comes just before would not wake us."""
        while True:
            ended, status = os.waitpid(self.pid, os.WNOHANG | (os.WUNTRACED if _at_terminal() else 0))
            if ended and not os.WIFSTOPPED(status):
                return status
            if ended:
                self._stop_with_it()
                continue
            select.select([self._woken], [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)

    def _stop_with_it(self) -> None:
        """Be stopped as the job was, by the terminal's key, so that the shell takes over; go on when it says so."""
        self._take_terminal()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._pass_on(signal.SIGCONT, None)  # here too: the lease's thread may take the signal while this one waits

    def _lend_terminal(self) -> None:
        """Let the terminal's keys and input be the job's, where they are ours to give: not from the background."""
        if _at_terminal() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():
            self._lent = _give_terminal(self.pid)

    def _take_terminal(self) -> None:
        if self._lent and _at_terminal() and os.tcgetpgrp(sys.stdin.fileno()) == self.pid:
            _give_terminal(os.getpgrp())

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._asked = self._asked or number in ASKS_TO_END
        if number == signal.SIGCONT:
            self._lend_terminal()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _become(command: list[str], go: int, failed: int) -> NoReturn:
    """Wait in the child for the variables, then become the command. Never returns."""
    code = FAILED
    try:
        os.setpgid(0, 0)
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and a program inherits what is ignored
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        said = b""
        while not said.endswith(b"\n\n") and said != b"\n":
            piece = os.read(go, 65536)
            if not piece:  # called off, or the launcher is dead
                os._exit(FAILED)
            said += piece
        variables = dict(line.split("=", 1) for line in said.decode().splitlines() if line)
        os.execvpe(command[0], command, with_variables(variables))  # noqa: S606 -- the user's own command, as given
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        os.write(failed, f"{command[0]}: {error.strerror}".encode())
    finally:
        os._exit(code)


def _at_terminal() -> bool:
    """Whether input comes from a terminal, and one that controls this process."""
    try:
        os.tcgetpgrp(sys.stdin.fileno())
    except (AttributeError, ValueError, OSError):  # no stdin, a closed one, no terminal
        return False
    return True


def _give_terminal(group: int) -> bool:
    """Make a group the one that the terminal's keys and input belong to; False where it cannot be."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else who gives from the background is stopped
    try:
        os.tcsetpgrp(sys.stdin.fileno(), group)
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGTTOU, before)
    return True


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    job = environment()
    parser = argparse.ArgumentParser(
        prog="blueprint-run", description="Run a job as a run of the sidecar.", allow_abbrev=False
    )
    parser.add_argument("--job", default=job.job_name, help="the job's name; default: JOB_NAME")
    parser.add_argument("--scene", default=job.scene_id, help="the scene's id; default: SCENE_ID")
    parser.add_argument("--bucket", default=job.bucket, help="the bucket that the job works on; default: BUCKET")
    parser.add_argument("--deadline", type=_seconds, help="how long the run may take: 90s, 45m, 2h")
    for name in ("--kill-hung", "--fresh", "--quit-proxy"):
        parser.add_argument(name, action="store_true", help="not built yet: refused")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- command ...")
    said = parser.parse_args(arguments)
    if said.command[:1] == ["--"]:
        del said.command[0]
    for name in ("kill_hung", "fresh", "quit_proxy"):
        if getattr(said, name):
            parser.error(f"--{name.replace('_', '-')} is not built yet")
    if not said.command:
        parser.error("no command: blueprint-run --job NAME --scene ID -- command ...")
    for name, variable in (("job", "JOB_NAME"), ("scene", "SCENE_ID")):
        if not getattr(said, name):
            parser.error(f"--{name} is needed, or {variable} in the environment")
    return said


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: 90s, 45m, 2h")
    return float(found[1]) * _UNITS[found[2]]


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"blueprint-run: {message}\n")
    return code


if __name__ == "__main__":
    main()
