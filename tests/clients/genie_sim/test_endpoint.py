from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from blueprint_clients.genie_sim.endpoint import connect_once

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("family", "host", "target"), [(socket.AF_INET, "127.0.0.1", "{}"), (socket.AF_INET6, "::1", "[{}]")]
)
def test_a_port_that_listens_is_enough(family: socket.AddressFamily, host: str, target: str) -> None:
    with socket.create_server((host, 0), family=family) as listening:
        connect_once(f"{target.format(host)}:{listening.getsockname()[1]}", 5.0)


def test_a_unix_socket_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        connect_once(f"unix:{tmp_path}/s", 5.0)


def test_nobody_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect_once("127.0.0.1:1", 5.0)
    with pytest.raises(FileNotFoundError):
        connect_once(f"unix:{tmp_path}/none", 5.0)
