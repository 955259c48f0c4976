from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.sidecar import ScriptedSidecar, refused

if TYPE_CHECKING:
    from pathlib import Path

ID = "r" * 22
END = f"/v1/runs/{ID}/end"
LIMIT = 30.0
SAYS_ITS_RUN = "import os; print(os.environ.get('BLUEPRINT_RUN'))"


class Launched:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out, self.err = "", ""

    def wait(self) -> int:
        self.out, self.err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode


def start(sidecar: ScriptedSidecar | None, *words: str, **variables: str) -> Launched:
    """Run it as its console script would, with nothing of the test's environment but where Python is."""
    environment = {
        "PATH": os.defpath,
        "BLUEPRINT_PROXY": "http://127.0.0.1:1" if sidecar is None else sidecar.url,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("clients")),
        **variables,
    }
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "blueprint_clients.launcher", *words]
    return Launched(subprocess.Popen(command, env=environment, text=True, **pipes))


def python(code: str) -> list[str]:
    return ["--job", "job", "--scene", "scene", "--", sys.executable, "-c", code]


def test_the_job_runs_as_a_run_and_its_end_is_told(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, "--bucket", "b", "--deadline", "2h", *python(SAYS_ITS_RUN))
    assert launched.wait() == 0, launched.err
    assert launched.out.strip() == ID
    order = scripted.of("POST", "/v1/runs")[0].body
    assert (order["job_name"], order["scene_id"], order["bucket"]) == ("job", "scene", "b")
    assert order["deadline_s"] == 7200
    assert scripted.of("POST", END)[0].body == {"outcome": "success", "exit_status": 0}
    assert launched.err == ""


def test_the_lease_names_the_jobs_process_and_is_held_before_it_begins(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, *python("import os; print(os.getpid(), os.getpgrp())"))
    assert launched.wait() == 0, launched.err
    pid, group = (int(word) for word in launched.out.split())
    assert scripted.of("POST", "/v1/runs")[0].body["pid"] == pid == group
    paths = [one.path for one in scripted.asked]
    assert paths == ["/v1/runs", f"/v1/runs/{ID}/lease", END]


def test_defaults_come_from_the_environment(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, sys.executable, "-c", "", JOB_NAME="j", SCENE_ID="s", BUCKET="b")
    assert launched.wait() == 0, launched.err
    order = scripted.of("POST", "/v1/runs")[0].body
    assert (order["job_name"], order["scene_id"], order["bucket"]) == ("j", "s", "b")


def test_the_jobs_own_code_is_told_and_given_back(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, *python("raise SystemExit(7)"))
    assert launched.wait() == 7
    assert scripted.of("POST", END)[0].body == {"outcome": "failure", "exit_status": 7}


def test_a_killed_job_is_told_with_its_signal(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, *python("import os; os.kill(os.getpid(), 9)"))
    assert launched.wait() == 128 + 9
    assert scripted.of("POST", END)[0].body == {"outcome": "failure", "signal": 9}


def test_a_signal_is_passed_on_and_the_run_counts_as_cancelled(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, *python("print('up', flush=True); import signal; signal.pause()"))
    assert launched.process.stdout is not None
    assert launched.process.stdout.readline() == "up\n"
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 128 + 15
    assert scripted.of("POST", END)[0].body == {"outcome": "cancelled", "signal": 15}


def test_a_job_that_ends_well_after_a_signal_is_a_success(scripted: ScriptedSidecar) -> None:
    code = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); print('up', flush=True); signal.sigwait([15])"
    )
    launched = start(scripted, *python(code))
    assert launched.process.stdout is not None
    assert launched.process.stdout.readline() == "up\n"
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 0
    assert scripted.of("POST", END)[0].body["outcome"] == "success"


def test_a_signal_reaches_the_jobs_children_too(scripted: ScriptedSidecar) -> None:
    launched = start(
        scripted, "--job", "j", "--scene", "s", "--", "/bin/sh", "-c", "sleep 60 & echo up; wait; echo never"
    )
    assert launched.process.stdout is not None
    assert launched.process.stdout.readline() == "up\n"
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 128 + 15
    assert launched.out == ""  # the pipe is closed: the sleep is gone as well


def test_without_a_sidecar_the_job_runs_and_it_is_said(tmp_path: Path) -> None:
    launched = start(None, *python(SAYS_ITS_RUN))
    assert launched.wait() == 0
    assert launched.out.strip() == "None"
    assert launched.err.count("no sidecar") == 1


def test_switched_off_the_job_runs(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, *python("raise SystemExit(3)"), BLUEPRINT_PROXY="off")
    assert launched.wait() == 3
    assert scripted.asked == []


def test_a_run_that_is_refused_does_not_begin(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", "/v1/runs", refused(409, "conflict", "held since noon"))
    launched = start(scripted, *python("print('ran')"))
    assert launched.wait() == 1
    assert launched.out == ""
    assert "held since noon" in launched.err


@pytest.mark.parametrize(("command", "code"), [("/nowhere/at/all", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_run_is_said_as_a_shell_says_it(
    scripted: ScriptedSidecar, command: str, code: int
) -> None:
    launched = start(scripted, "--job", "j", "--scene", "s", "--", command)
    assert launched.wait() == code
    assert command in launched.err
    told = scripted.of("POST", END)[0].body
    assert told["outcome"] == "failure"
    assert told["exit_status"] == code
    assert command in told["message"]


def test_an_end_that_cannot_be_told_does_not_change_the_code(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", END, refused(503, "draining"))
    launched = start(scripted, *python("raise SystemExit(5)"))
    assert launched.wait() == 5
    assert "was not told" in launched.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--job", "j", "--scene", "s"],
        ["--job", "j", "--", "true"],
        ["--scene", "s", "--", "true"],
        ["--job", "j", "--scene", "s", "--deadline", "soon", "--", "true"],
        ["--job", "j", "--scene", "s", "--deadline", "0s", "--", "true"],
        ["--job", "j", "--scene", "s", "--kill-hung", "--", "true"],
        ["--job", "j", "--scene", "s", "--fresh", "--", "true"],
        ["--job", "j", "--scene", "s", "--quit-proxy", "--", "true"],
        ["--unknown", "--", "true"],
    ],
)
def test_bad_usage_is_refused_before_anything_is_done(scripted: ScriptedSidecar, words: list[str]) -> None:
    launched = start(scripted, *words)
    assert launched.wait() == 2
    assert scripted.asked == []
    assert "blueprint-run" in launched.err


def test_an_address_that_cannot_be_meant_is_bad_usage() -> None:
    launched = start(None, *python("print('ran')"), BLUEPRINT_PROXY="localhost:8901")
    assert launched.wait() == 2
    assert "BLUEPRINT_PROXY must be" in launched.err
    assert launched.out == ""


def test_words_after_the_command_are_the_commands_own(scripted: ScriptedSidecar) -> None:
    code = "import sys; print(sys.argv[1:])"
    launched = start(scripted, *python(code), "--job", "--", "-x")
    assert launched.wait() == 0, launched.err
    assert launched.out.strip() == "['--job', '--', '-x']"


def test_a_broken_pipe_ends_the_job_as_it_would_without_us(scripted: ScriptedSidecar) -> None:
    launched = start(scripted, "--job", "j", "--scene", "s", "--", "/bin/sh", "-c", "kill -PIPE $$; echo ignored")
    assert launched.wait() == 128 + signal.SIGPIPE


TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class AtTerminal(Launched):
    """The launcher as the foreground of a terminal of its own; `keys` is the terminal's other end."""

    def __init__(self, sidecar: ScriptedSidecar, *words: str) -> None:
        self.keys, terminal = pty.openpty()
        environment = {
            "PATH": os.defpath,
            "BLUEPRINT_PROXY": sidecar.url,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("clients")),
        }
        command = [sys.executable, "-c", TERMINAL, sys.executable, "-m", "blueprint_clients.launcher", *words]
        pipes = {"stdin": terminal, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        super().__init__(subprocess.Popen(command, env=environment, text=True, **pipes))
        os.close(terminal)

    def press(self, keys: bytes) -> None:
        os.write(self.keys, keys)

    def wait(self) -> int:
        try:
            return super().wait()
        finally:
            os.close(self.keys)

    def begun(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "up\n"


def shell(code: str) -> list[str]:
    return ["--job", "job", "--scene", "scene", "--", "/bin/sh", "-c", code]


def test_a_job_that_the_terminals_key_interrupts_was_asked_to_end(scripted: ScriptedSidecar) -> None:
    launched = AtTerminal(scripted, *shell("echo up; exec sleep 60"))
    launched.begun()
    launched.press(b"\x03")
    assert launched.wait() == 128 + signal.SIGINT
    assert scripted.of("POST", END)[0].body == {"outcome": "cancelled", "signal": int(signal.SIGINT)}


def test_the_launcher_stops_with_a_job_that_the_terminals_key_stops_and_goes_on_with_it(
    scripted: ScriptedSidecar,
) -> None:
    launched = AtTerminal(scripted, *shell("echo up; read word; echo $word"))
    launched.begun()
    launched.press(b"\x1a")
    _, status = os.waitpid(launched.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    launched.process.send_signal(signal.SIGCONT)
    launched.press(b"on\n")
    assert launched.wait() == 0, launched.err
    assert launched.out == "on\n"
