"""A real proxy between real gRPC clients and servers, with a tap on the wire to the upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from support.proxy import RunningProxy
from support.rpc_upstream import BIG, RpcUpstream
from support.stage import UNMOVED
from support.wire_tap import WireTap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.proxy import StartProxy

RETRYING = {
    "retry": {"attempts": 3, "base": "1ms", "cap": "5ms"},
    "retry_budget": {"ratio": 1.0, "min": 100},
    "breaker": UNMOVED,
}
UNARY = {"a.B/*": {"unary": True}, "a.Safe/*": {"unary": True, "class": "idempotent"}}


class Scene:
    """A server, the tap before it, the proxy, and a job's channel."""

    def __init__(self, server: RpcUpstream, tap: WireTap, proxy: RunningProxy) -> None:
        self.server = server
        self.tap = tap
        self.proxy = proxy
        self.channel = self.open()
        self.opened = [self.channel]

    def open(self, *options: tuple[str, Any], compression: Any = None) -> grpc.Channel:
        """Another channel of the job's, on a connection of its own."""
        own = [*BIG, ("grpc.use_local_subchannel_pool", 1), *options]
        channel = grpc.insecure_channel(str(self.proxy.config["listen"]["grpc"]), own, compression)
        if hasattr(self, "opened"):
            self.opened.append(channel)
        return channel

    def direct(self) -> grpc.Channel:
        """A channel to the server itself."""
        channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}", BIG)
        self.opened.append(channel)
        return channel

    def unary(self, method: str = "/a.B/c") -> Any:
        return self.channel.unary_unary(method)

    def stream(self, method: str = "/s.T/chat") -> Any:
        return self.channel.stream_stream(method)

    def fails(self, method: str = "/a.B/c", message: bytes = b"x", **how: Any) -> Any:
        """The error of a unary call."""
        with pytest.raises(grpc.RpcError) as caught:
            self.unary(method)(message, **how)
        return caught.value


@pytest.fixture
def scene(proxy: StartProxy) -> Iterator[Callable[..., Scene]]:
    """`scene()`, `scene(keys of the upstream, server={...}, config={...})`."""
    made: list[Scene] = []

    def make(
        keys: dict[str, Any] | None = None,
        *,
        server: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> Scene:
        upstream = RpcUpstream(**(server or {}))
        tap = WireTap(("127.0.0.1", upstream.port))
        settings = {"kind": "grpc", "url": f"grpc://{tap.address}", "operations": UNARY, **RETRYING, **(keys or {})}
        running = proxy({"upstreams": {"svc": settings}, **(config or {})})
        made.append(Scene(upstream, tap, running))
        return made[-1]

    yield make
    for one in made:
        for channel in one.opened:
            channel.close()
        one.tap.close()
        one.server.stop()


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    upstream = RpcUpstream()
    tap = WireTap(("127.0.0.1", upstream.port))
    settings = {
        "kind": "grpc",
        "url": f"grpc://{tap.address}",
        "operations": UNARY,
        "retry": {"attempts": 1},
        "breaker": UNMOVED,
    }
    running = RunningProxy(tmp_path_factory.mktemp("grpc"), {"upstreams": {"svc": settings}})
    it = Scene(upstream, tap, running)
    yield it
    for channel in it.opened:
        channel.close()
    tap.close()
    upstream.stop()
    running.stop()


@pytest.fixture
def shared(_shared: Scene) -> Scene:
    """One scene for tests that leave nothing behind: an upstream that is tried once."""
    _shared.server.forget()
    return _shared
