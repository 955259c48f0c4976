"""Peers: real sockets on this host, half closed, closed and killed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from blueprint_proxy.inbound import peers
from blueprint_proxy.inbound.peers import credentials, is_gone, peer_socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAMILIES = ["unix", "ipv4", "ipv6", "dual-stack client", "dual-stack server"]

CHILD = """
import socket, sys
family, address = int(sys.argv[1]), sys.argv[2]
client = socket.socket(family)
client.connect((address, int(sys.argv[3])) if len(sys.argv) > 3 else address)
client.shutdown(socket.SHUT_WR)
client.recv(1)
"""


class Pair:
    """A listener of one kind, and how a client reaches it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.closing = contextlib.ExitStack()
        try:
            self._open(name, folder)
        except OSError as error:
            self.closing.close()
            pytest.skip(f"no {name} here: {error}")

    def _open(self, name: str, folder: Path) -> None:
        server_family, client_family, bound, reached = {
            "unix": (socket.AF_UNIX, socket.AF_UNIX, "", ""),
            "ipv4": (socket.AF_INET, socket.AF_INET, "127.0.0.1", "127.0.0.1"),
            "ipv6": (socket.AF_INET6, socket.AF_INET6, "::1", "::1"),
            "dual-stack client": (socket.AF_INET, socket.AF_INET6, "127.0.0.1", "::ffff:127.0.0.1"),
            "dual-stack server": (socket.AF_INET6, socket.AF_INET, "::", "127.0.0.1"),
        }[name]
        self.client_family = client_family
        self.listener = self.closing.enter_context(socket.socket(server_family))
        self.address: tuple[str, int] | str
        if server_family == socket.AF_UNIX:
            self.address = str(folder / "listener")
            self.listener.bind(self.address)
        else:
            if name == "dual-stack server":
                self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.listener.bind((bound, 0))
            self.address = (reached, self.listener.getsockname()[1])
        self.listener.listen()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """The client's end and ours."""
        client = self.closing.enter_context(socket.socket(self.client_family))
        client.connect(self.address)
        return client, self.accept()

    def accept(self) -> socket.socket:
        return self.closing.enter_context(self.listener.accept()[0])

    def start_child(self) -> subprocess.Popen[bytes]:
        """A process that connects, half-closes and waits."""
        address = [self.address] if isinstance(self.address, str) else [self.address[0], str(self.address[1])]
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(int(self.client_family)), *address])
        self.closing.callback(child.wait)
        self.closing.callback(child.kill)
        return child


@pytest.fixture(params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(request.param, tmp_path)
    with made.closing:
        yield made


def read_to_its_end(ours: socket.socket) -> None:
    while ours.recv(1024):
        pass


def test_an_open_connection_is_not_gone(pair: Pair) -> None:
    _, ours = pair.connect()
    assert not is_gone(ours)


def test_a_half_closed_connection_whose_job_lives_is_not_gone(pair: Pair) -> None:
    client, ours = pair.connect()
    client.shutdown(socket.SHUT_WR)
    read_to_its_end(ours)
    assert not is_gone(ours)


def test_a_connection_that_we_half_closed_too_is_not_gone_before_its_job(pair: Pair) -> None:
    _, ours = pair.connect()
    ours.shutdown(socket.SHUT_WR)
    assert not is_gone(ours)


def test_a_closed_connection_is_gone(pair: Pair) -> None:
    client, ours = pair.connect()
    client.shutdown(socket.SHUT_WR)
    client.close()
    read_to_its_end(ours)
    assert is_gone(ours)


def test_a_connection_beside_a_closed_one_is_not_gone(pair: Pair) -> None:
    client, _ = pair.connect()
    _, ours = pair.connect()
    client.close()
    assert not is_gone(ours)


def test_a_half_closed_connection_is_gone_when_its_process_is_killed(pair: Pair) -> None:
    child = pair.start_child()
    ours = pair.accept()
    read_to_its_end(ours)
    assert not is_gone(ours)
    child.kill()
    child.wait()
    assert is_gone(ours)


class FarAway(socket.socket):
    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.1", 8900)

    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.2", 40000)


def test_of_a_job_on_another_host_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Our own end stands in the table; that the other one does not says nothing."""
    table = tmp_path / "table"
    table.write_text("   0: 010200C0:22C4 020200C0:9C40 08 0:0 00:0 0 0 0 4711\n", encoding="ascii")
    monkeypatch.setattr(peers, "_TABLES", (table,))
    with FarAway() as ours:
        assert not is_gone(ours)


def test_without_a_table_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = Pair("ipv4", tmp_path)
    with pair.closing:
        client, ours = pair.connect()
        client.close()
        monkeypatch.setattr(peers, "_TABLES", (tmp_path / "none",))
        assert not is_gone(ours)


def test_a_table_that_does_not_know_our_own_end_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = Pair("ipv4", tmp_path)
    (tmp_path / "table").write_text("  sl  local_address rem_address   st\n", encoding="ascii")
    with pair.closing:
        client, ours = pair.connect()
        client.close()
        monkeypatch.setattr(peers, "_TABLES", (tmp_path / "table",))
        assert not is_gone(ours)


def test_a_connection_that_is_no_more_is_gone() -> None:
    with socket.socket() as never_connected:
        assert is_gone(never_connected)


def test_of_another_family_nothing_is_known() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as other:
        assert not is_gone(other)


def test_of_a_unix_socket_the_kernel_names_the_process_and_its_user(tmp_path: Path) -> None:
    pair = Pair("unix", tmp_path)
    with pair.closing:
        child = pair.start_child()
        assert credentials(pair.accept()) == (child.pid, os.geteuid())


def test_of_a_tcp_connection_there_are_no_credentials(tmp_path: Path) -> None:
    pair = Pair("ipv4", tmp_path)
    with pair.closing:
        _, ours = pair.connect()
        assert credentials(ours) is None


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_the_other_end_of_a_tcp_connection_on_this_host_is_a_socket_that_a_user_made(
    family: str, tmp_path: Path
) -> None:
    pair = Pair(family, tmp_path)
    with pair.closing:
        pair.connect()
        client, ours = pair.connect()
        assert peer_socket(ours) == (os.fstat(client.fileno()).st_ino, os.geteuid())


def test_a_socket_that_no_process_has_any_more_is_nobodys(tmp_path: Path) -> None:
    pair = Pair("ipv4", tmp_path)
    with pair.closing:
        client, ours = pair.connect()
        client.close()
        assert peer_socket(ours) is None


def test_of_what_is_no_connection_on_this_host_no_socket_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = Pair("unix", tmp_path)
    with pair.closing, socket.socket() as never_connected, FarAway() as far:
        assert peer_socket(pair.connect()[1]) is None
        assert peer_socket(never_connected) is None
        assert peer_socket(far) is None
        monkeypatch.setattr(peers, "_TABLES", (tmp_path / "none",))
        assert peer_socket(far) is None
