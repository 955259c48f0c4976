"""The guide's check of an endpoint: one connection, made and closed."""

from __future__ import annotations

import socket


def connect_once(target: str, timeout: float) -> None:
    """Connect to HOST:PORT or unix:/PATH and leave; OSError where nobody takes it within `timeout` seconds."""
    if target.startswith("unix:"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as here:
            here.settimeout(timeout)
            here.connect(target[len("unix:") :])
        return
    host, _, port = target.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout):
        pass
