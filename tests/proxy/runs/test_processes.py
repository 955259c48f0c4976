"""Which process a lease may name: real processes, connected over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_proxy.runs import processes
from blueprint_proxy.runs.processes import MOST_ANCESTORS, ForeignProcessError, Unproven, Watched, ancestry, prove

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLER = """
import json, os, socket, subprocess, sys
address, user = json.loads(sys.argv[1])
if user is not None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
connection.connect(tuple(address) if isinstance(address, list) else address)
child = subprocess.Popen(["sleep", "600"])
print(json.dumps([os.getpid(), child.pid]), flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")


class Caller:
    """A process that holds a connection to us, and has a child. `pid` and `child` are as it knows them."""

    def __init__(self, listener: socket.socket, *, before: list[str] | None = None, user: int | None = None) -> None:
        command = [*(before or []), sys.executable, "-S", "-c", CALLER, json.dumps([listener.getsockname(), user])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.connection = listener.accept()[0]
        assert self.process.stdout is not None
        self.pid, self.child = json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        self.connection.close()
        self.process.communicate(timeout=10)


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with (
        tempfile.TemporaryDirectory() as folder,  # tmp_path is closed to other users
        socket.socket(socket.AF_UNIX if request.param == "unix" else socket.AF_INET) as bound,
    ):
        Path(folder).chmod(0o755)
        bound.settimeout(10)
        bound.bind(f"{folder}/s" if request.param == "unix" else ("127.0.0.1", 0))
        bound.listen()
        if request.param == "unix":
            Path(folder, "s").chmod(0o777)
        yield bound


@pytest.fixture
def call(listener: socket.socket) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def start(**how: Any) -> Caller:
            caller = Caller(listener, **how)
            stack.callback(caller.stop)
            return caller

        yield start


def files_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_caller_itself_is_proven(call: Any) -> None:
    caller = call()
    proven = prove(caller.pid, caller.connection)
    assert isinstance(proven, Watched)
    assert (proven.pid, proven.launched) == (caller.pid, False)
    os.close(proven.pidfd)


def test_what_the_caller_started_is_proven_and_said_to_be_so(call: Any) -> None:
    caller = call()
    proven = prove(caller.child, caller.connection)
    assert isinstance(proven, Watched)
    assert (proven.pid, proven.launched) == (caller.child, True)
    os.close(proven.pidfd)


def test_the_pidfd_is_of_the_process_that_was_proven(call: Any) -> None:
    caller = call()
    proven = prove(caller.child, caller.connection)
    assert isinstance(proven, Watched)
    assert not processes._has_ended(proven.pidfd)
    caller.stop()
    assert processes._has_ended(proven.pidfd)
    os.close(proven.pidfd)


@pytest.mark.parametrize("whose", ["ours", "the first", "a stranger's"])
def test_a_process_that_is_neither_the_callers_nor_started_by_it_is_refused(call: Any, whose: str) -> None:
    caller, stranger = call(), call()
    before = files_open()
    pid = {"ours": os.getpid(), "the first": 1, "a stranger's": stranger.pid}[whose]
    with pytest.raises(ForeignProcessError, match=f"process {pid} is neither the one that asks nor started by it"):
        prove(pid, caller.connection)
    assert files_open() == before


def test_a_process_does_not_speak_for_the_one_that_started_it(call: Any) -> None:
    """We have started the caller, and hold one end of the connection ourselves, which proves nothing."""
    caller = call()
    with pytest.raises(ForeignProcessError):
        prove(os.getpid(), caller.connection)


def test_a_number_that_no_process_has_is_refused(call: Any) -> None:
    caller = call()
    with pytest.raises(ForeignProcessError):
        prove(2**22, caller.connection)


@as_root
def test_a_caller_cannot_name_a_process_of_another_user(call: Any) -> None:
    caller, other = call(user=NOBODY), call()
    for pid in (other.pid, other.child, os.getpid()):
        with pytest.raises(ForeignProcessError):
            prove(pid, caller.connection)


@as_root
def test_root_watches_a_process_for_the_user_who_has_it(call: Any) -> None:
    caller = call(user=NOBODY)
    proven = prove(caller.pid, caller.connection)
    assert isinstance(proven, Watched)
    os.close(proven.pidfd)


@as_root
def test_a_caller_cannot_name_a_process_that_it_it_started_as_another_user(call: Any) -> None:
    caller = call()
    status = processes._status

    def of_another_user(pid: int, key: str) -> list[int]:
        return [NOBODY] if (pid, key) == (caller.child, "Uid:") else status(pid, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_status", of_another_user)
        with pytest.raises(ForeignProcessError, match="belongs to another user than the one that asks"):
            prove(caller.child, caller.connection)


def test_of_another_user_than_this_proxys_nothing_is_watched(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = call()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    unproven = prove(caller.pid, caller.connection)
    assert unproven == Unproven(f"process {caller.pid} belongs to another user than this proxy")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root makes a pid namespace, with unshare"
)
def test_numbers_of_a_pid_namespace_below_ours_are_translated(call: Any) -> None:
    caller = call(before=["unshare", "--pid", "--fork"])
    assert caller.pid == 1
    for number, launched in ((caller.pid, False), (caller.child, True)):
        proven = prove(number, caller.connection)
        assert isinstance(proven, Watched), proven
        assert proven.pid != number
        assert proven.launched is launched
        assert processes._numbers(proven.pid) == [proven.pid, number]
        os.close(proven.pidfd)
    unproven = prove(os.getpid(), caller.connection)
    assert isinstance(unproven, Unproven)
    assert "cannot be told from others" in unproven.why


def test_a_caller_that_cannot_be_seen_is_in_doubt_and_not_refused(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another container of our pod: our loopback, its own process numbers, of which ours mean others."""
    caller = call()
    (tmp_path / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(processes, "PROC", tmp_path)
    unproven = prove(os.getpid(), caller.connection)
    assert isinstance(unproven, Unproven)
    assert "another pid namespace" in unproven.why


def test_a_proc_of_another_pid_namespace_proves_nothing(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = call()
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert prove(caller.pid, caller.connection) == Unproven("/proc shows another pid namespace than this proxy's")


def test_a_caller_on_another_host_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as never_connected:
        unproven = prove(os.getpid(), never_connected)
    assert unproven == Unproven("the caller is not on this host, or in another network namespace")


def test_a_process_that_ends_while_it_is_looked_at_is_not_watched(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = call()
    pin = processes._pin

    def pin_and_end(pid: int, claimed: int) -> int:
        pidfd = pin(pid, claimed)
        caller.stop()
        return pidfd

    monkeypatch.setattr(processes, "_pin", pin_and_end)
    with caller.connection.dup() as ours:
        before = files_open()
        assert isinstance(prove(caller.pid, ours), Unproven)
        assert files_open() <= before


def test_a_pid_that_came_to_mean_another_process_is_not_watched(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = call()
    found = iter([processes._Found(caller.pid, launched=False), processes._Found(caller.pid, launched=True)])
    monkeypatch.setattr(processes, "_find", lambda _claimed, _connection: next(found))
    before = files_open()
    assert prove(caller.pid, caller.connection) == Unproven(f"process {caller.pid} has ended")
    assert files_open() == before


def test_a_system_without_pidfds_watches_nothing(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    caller = call()
    monkeypatch.setattr(os, "pidfd_open", refused)
    unproven = prove(caller.pid, caller.connection)
    assert unproven == Unproven(f"process {caller.pid} cannot be watched: Operation not permitted")


def test_ancestry_begins_with_the_process_and_goes_up_to_the_first() -> None:
    generations = list(ancestry(os.getpid()))
    assert generations[:2] == [os.getpid(), os.getppid()]
    assert len(generations) <= MOST_ANCESTORS
    assert list(ancestry(0)) == []
