import asyncio
import os
import socket
import subprocess
import sys

import pytest

from blueprint_proxy.config import IdentitySettings, UpstreamUrl
from blueprint_proxy.config.addresses import parse_url
from blueprint_proxy.upstreams.geniesim.identity import (
    Listener,
    PidFile,
    Program,
    Seen,
    Unseen,
    identity_of,
    still_there,
)

LISTEN = (
    "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); "
    "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('up', flush=True); sys.stdin.read()"
)


def look(identity):
    return asyncio.run(identity.look())


def listening(port):
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    return process


@pytest.fixture
def port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def start(port):
    started = []

    def begin():
        started.append(listening(port))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_the_process_that_listens_is_known_by_its_number_and_its_start(start, port):
    process = start()
    seen = look(Listener("127.0.0.1", port))
    assert seen.pid == process.pid
    assert seen.identity.startswith(f"pid {process.pid} started ")
    assert still_there(seen)


def test_another_process_is_another_identity(start, port):
    listener = Listener("localhost", port)
    first = start()
    before = look(listener)
    first.kill()
    first.communicate()
    assert not still_there(before)
    start()
    assert look(listener).identity != before.identity


def test_a_port_that_nobody_serves_has_no_identity(port):
    assert "no process" in look(Listener("127.0.0.1", port)).why


def test_two_processes_on_one_port_are_nobody(start, port):
    start()
    start()
    assert "2 processes listen" in look(Listener("127.0.0.1", port)).why


def test_another_host_cannot_be_looked_into():
    assert "configure identity" in look(Listener("sim.example", 50051)).why


def test_a_pid_file_names_the_process(tmp_path):
    file = tmp_path / "pid"
    file.write_text(f"{os.getpid()}\n")
    assert look(PidFile(file)).pid == os.getpid()


@pytest.mark.parametrize("text", ["", "x", "999999999"])
def test_a_pid_file_of_nobody_is_unseen(tmp_path, text):
    file = tmp_path / "pid"
    file.write_text(text)
    assert isinstance(look(PidFile(file)), Unseen)


def test_a_dead_process_that_nobody_has_waited_for_is_gone():
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not still_there(Seen("x", process.pid))
    process.communicate()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("/bin/echo", " a  b "), Seen("a b")),
        (("/bin/true",), Unseen("/bin/true ended with 0: ")),
        (("/bin/sh", "-c", "echo no; exit 1"), Unseen("/bin/sh ended with 1: no")),
    ],
)
def test_a_program_says_who_it_is(argv, expected):
    assert look(Program(argv)) == expected


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (IdentitySettings(), Listener),
        (IdentitySettings(container="sim"), Program),
        (IdentitySettings(command=("x",)), Program),
    ],
)
def test_the_configured_way_is_taken(settings, kind):
    url: UpstreamUrl = parse_url("grpc://localhost:50051")
    assert isinstance(identity_of(settings, url), kind)
