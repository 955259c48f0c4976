"""The connections to one gRPC upstream: channels of grpc.aio, made when the first call needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from blueprint_proxy.config import UpstreamUrl
    from blueprint_proxy.sweep import Sweep

METHODS = 1024
"""Methods whose stubs are kept: jobs may make names up."""
LOOK = 0.5
"""Seconds between two looks whether the last call on closed channels has ended."""
KEEPALIVE = 320_000
"""Milliseconds. Servers allow a ping in five minutes, and answer more with GOAWAY too_many_pings (gRPC's A8)."""
LARGEST_METADATA = 1024 * 1024
"""Bytes of metadata of one message. The library's own 8 KiB would refuse what the two ends agree on."""

Stub = Any
"""A grpc.aio.UnaryUnaryMultiCallable or StreamStreamMultiCallable of bytes."""


class Channels:
    """`unary` and `stream` give the stubs to call a method by. Closing lets the calls under way end.

    There are two channels. A call's first attempt goes through one where the library repeats a stream that the upstream
    provably refused (GOAWAY, REFUSED_STREAM): the job never sees it. Such a channel takes grpc-previous-rpc-attempts
    out of the metadata, so a repeat goes through another one, that is there once the first repeat is.

    `pem` holds roots, key and certificate chain as PEM; None is for a connection in the clear. `connect` is in seconds,
    `limit` the bytes of a message.
    """

    def __init__(
        self,
        target: str,
        pem: tuple[bytes | None, bytes | None, bytes | None] | None,
        sweep: Sweep,
        *,
        connect: float,
        limit: int,
        authority: str,
        in_use: Callable[[], bool],
    ) -> None:
        self._target = target
        self._credentials = None if pem is None else grpc.ssl_channel_credentials(*pem)
        self._sweep = sweep
        self._connect = connect
        self._limit = limit
        self._authority = authority
        self._in_use = in_use
        self._channels: dict[bool, grpc.aio.Channel] = {}
        self._stubs: dict[tuple[str, bool, bool], Stub] = {}
        self._closing: list[asyncio.Task[None]] = []
        self.active = 0

    def unary(self, method: str, *, repeat: bool) -> Stub:
        """The stub for one message each way."""
        return self._stubs.get((method, True, repeat)) or self._stub(method, repeat=repeat, unary=True)

    def stream(self, method: str, *, repeat: bool) -> Stub:
        """The stub for any number of messages each way."""
        return self._stubs.get((method, False, repeat)) or self._stub(method, repeat=repeat, unary=False)

    def connected(self, *, repeat: bool) -> bool:
        """Whether a connection stands now. What failed for want of one leaves none behind; an upstream's word does."""
        channel = self._channels.get(repeat)
        return channel is not None and channel.get_state() is grpc.ChannelConnectivity.READY

    @property
    def open(self) -> int:
        """Connections that stand."""
        return sum(self.connected(repeat=repeat) for repeat in self._channels)

    def close(self) -> None:
        """Closes when no call is left that may make another attempt. Repeatable."""
        if self._in_use():
            self._sweep.at(self._sweep.now() + LOOK, self.close)
            return
        channels = list(self._channels.values())
        self._channels.clear()
        self._stubs.clear()
        self._closing += [self._sweep.loop.create_task(channel.close()) for channel in channels]

    def _stub(self, method: str, *, repeat: bool, unary: bool) -> Stub:
        channel = self._channels.get(repeat)
        if channel is None:
            channel = self._channels[repeat] = self._open(repeat=repeat)
        if len(self._stubs) >= METHODS:
            self._stubs.clear()
        made = channel.unary_unary(method) if unary else channel.stream_stream(method)
        self._stubs[method, unary, repeat] = made
        return made

    def _open(self, *, repeat: bool) -> grpc.aio.Channel:
        options = [
            ("grpc.max_receive_message_length", self._limit),
            ("grpc.max_send_message_length", self._limit),
            ("grpc.max_metadata_size", LARGEST_METADATA),
            ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
            # an upstream that is back is found within about a second; the third is how long a connect may take
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.min_reconnect_backoff_ms", int(self._connect * 1000)),
            ("grpc.keepalive_time_ms", KEEPALIVE),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.enable_retries", 0 if repeat else 1),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.enable_http_proxy", 0),
            # nothing is shared with channels from before a reload, not their back-off either
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.default_authority", self._authority),
        ]
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, options)
        return grpc.aio.secure_channel(self._target, self._credentials, options)


def target_of(url: UpstreamUrl) -> str:
    """The url in gRPC's own notation."""
    if url.unix is not None:
        return f"unix:{url.unix}"
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"dns:///{host}:{url.port}"
