"""One proxy for many tests, with a fresh upstream for each: nothing that a test does reaches the next.

Breakers, budgets and pools belong to an upstream, so a test that takes an unused one needs no proxy of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.proxy import RunningProxy
from support.raw_upstream import RawUpstream, listen

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from support.raw_client import RawClient
    from support.wire import Reply

UNMOVED = {"min_calls": 10_000, "consecutive": 10_000, "age": "10m"}
"""A breaker that no test trips by accident."""

PROFILES: dict[str, dict[str, Any]] = {
    "plain": {"retry": {"attempts": 1}, "breaker": UNMOVED},
    "retrying": {
        "retry": {"attempts": 3, "base": "1ms", "cap": "5ms"},
        "retry_budget": {"ratio": 1.0, "min": 100},
        "breaker": UNMOVED,
    },
}


class Stage:
    """The proxy and one upstream of its own."""

    def __init__(self, proxy: RunningProxy, name: str, upstream: RawUpstream) -> None:
        self.proxy = proxy
        self.name = name
        self.upstream = upstream
        self._clients: list[RawClient] = []

    def path(self, rest: str = "/thing") -> str:
        return f"/{self.name}{rest}"

    def client(self, *, receive_buffer: int | None = None) -> RawClient:
        client = self.proxy.client(receive_buffer=receive_buffer)
        self._clients.append(client)
        return client

    def call(
        self, method: str = "GET", rest: str = "/thing", *fields: tuple[str, str], body: bytes | None = None
    ) -> Reply:
        """One call on a connection of its own."""
        client = self.client()
        reply = client.call(method, self.path(rest), *fields, body=body)
        client.close()
        return reply

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.upstream.stop()
        assert self.proxy.alive, f"the proxy died:\n{self.proxy.log[-4000:]}"
        self.proxy.assert_quiet()
        assert not self.upstream.failures, f"the upstream's script failed: {self.upstream.failures!r}"


class StagePool:
    """Hands out stages; starts a proxy when the last one has no unused upstream of that profile left, or died."""

    def __init__(self, directory: Path, profiles: dict[str, dict[str, Any]], counts: dict[str, int]) -> None:
        self._directory = directory
        self._profiles = profiles
        self._counts = counts
        self._started = 0
        self._proxy: RunningProxy | None = None
        self._unused: dict[str, list[tuple[str, socket.socket]]] = {}

    def take(self, profile: str) -> Stage:
        if self._proxy is None or not self._proxy.alive or not self._unused[profile]:
            self._restart()
        assert self._proxy is not None
        name, listener = self._unused[profile].pop()
        return Stage(self._proxy, name, RawUpstream(listener))

    def _restart(self) -> None:
        self.stop()
        self._started += 1
        self._unused = {
            profile: [(f"{profile}-{n}", listen()) for n in range(self._counts.get(profile, 6))]
            for profile in self._profiles
        }
        upstreams = {
            name: {"kind": "http", "url": f"http://127.0.0.1:{listener.getsockname()[1]}", **self._profiles[profile]}
            for profile, unused in self._unused.items()
            for name, listener in unused
        }
        self._proxy = RunningProxy(self._directory / str(self._started), {"upstreams": upstreams})

    def stop(self) -> None:
        for unused in self._unused.values():
            for _, listener in unused:
                listener.close()
        if self._proxy is not None:
            proxy, self._proxy = self._proxy, None
            proxy.stop()
