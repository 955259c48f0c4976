"""A proxy with both tokens, and somebody who asks its admin listener with one of them."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.proxy import RunningProxy, StartProxy

OPERATORS = "operators-token-4711"
JOBS = "jobs-token-4711"
TOKENS = {"BLUEPRINT_PROXY_ADMIN_TOKEN": OPERATORS, "BLUEPRINT_PROXY_TOKEN": JOBS}
UPSTREAMS = {"it": {"url": "http://127.0.0.1:9"}}


@dataclass
class Said:
    """An answer."""

    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json()["error"]["reason"])


def ask(
    proxy: RunningProxy, method: str, path: str, *, token: str | None = None, body: Any = None, **fields: str
) -> Said:
    """One request on a connection of its own. Underscores in the names of fields are hyphens."""
    connection = HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX if isinstance(proxy.admin, str) else socket.AF_INET)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(proxy.admin)
        sent = {name.replace("_", "-"): value for name, value in fields.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        if method == "POST":
            sent.setdefault("content-type", "application/json")
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@pytest.fixture
def guarded(proxy: StartProxy) -> RunningProxy:
    """A proxy whose jobs and operators have a token each."""
    return proxy({"upstreams": UPSTREAMS}, TOKENS)


@pytest.fixture
def as_job(guarded: RunningProxy) -> Callable[..., Said]:
    def asking(method: str, path: str, **more: Any) -> Said:
        return ask(guarded, method, path, token=JOBS, **more)

    return asking


@pytest.fixture
def as_operator(guarded: RunningProxy) -> Callable[..., Said]:
    def asking(method: str, path: str, **more: Any) -> Said:
        return ask(guarded, method, path, token=OPERATORS, **more)

    return asking
