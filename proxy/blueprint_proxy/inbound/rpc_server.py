"""The gRPC server around the listener: its port, its TLS, its limits, and its end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from blueprint_proxy.listening import remove_dead_socket

if TYPE_CHECKING:
    from blueprint_proxy.config import Address, ListenerTls
    from blueprint_proxy.inbound.grpc import RpcListener

LARGEST_METADATA = 1024 * 1024
"""Bytes of metadata of one message. The library's own 8 KiB would refuse what the two ends agree on."""

LONGEST_DRAIN = 1e6
"""Seconds; the library's own grace is not used: it does not say whether anything was cut."""


class RpcServer:
    """Serves `listener` on `address`. OSError, with a sentence for the operator, when the address cannot be had.

    `limit` is the largest message of any upstream, in bytes. TLS is for addresses: a unix socket is this user's alone.
    The library cannot pause a server: `pause` ends it, calls under way excepted, and `resume` opens another one at the
    same address.
    """

    def __init__(self, listener: RpcListener, address: Address, tls: ListenerTls | None, *, limit: int) -> None:
        self._listener = listener
        self._tls = tls
        self._cut = asyncio.Event()
        self._ending: list[asyncio.Task[Any]] = []
        self.limit = limit
        self.address = address
        self.paused = False
        self._server = self._open()

    async def start(self) -> None:
        await self._server.start()

    async def pause(self) -> None:
        """No new connections and no new calls; those under way go on."""
        self.paused = True
        self._ending = [ending for ending in self._ending if not ending.done()]
        self._ending.append(asyncio.get_running_loop().create_task(self._server.stop(LONGEST_DRAIN)))
        await asyncio.sleep(0)

    async def resume(self) -> None:
        """Accept again. OSError when somebody else has taken the address meanwhile."""
        self._server = self._open()
        self.paused = False
        await self._server.start()

    def _open(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # two processes on one port would share its connections
                ("grpc.max_receive_message_length", self.limit),
                ("grpc.max_send_message_length", self.limit),
                ("grpc.max_metadata_size", LARGEST_METADATA),
                ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
                ("grpc.http2.max_ping_strikes", 0),  # a job may ping as often as it likes: it is on this host
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        server.add_generic_rpc_handlers((self._listener,))  # type: ignore[arg-type]  # its shape, not its type
        self._bind(server, self.address, self._tls)
        return server

    async def drain(self, grace: float) -> bool:
        """No new calls; those under way have `grace` seconds. Whether all of them ended by then."""
        loop = asyncio.get_running_loop()
        stopping = loop.create_task(self._stop_all(LONGEST_DRAIN))
        cut = loop.create_task(self._cut.wait())
        try:
            await asyncio.wait([stopping, cut], timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            drained = stopping.done()
            if not drained:
                await self._stop_all(None)
            await stopping
        finally:
            cut.cancel()
        return drained

    async def _stop_all(self, grace: float | None) -> None:
        await self._server.stop(grace)
        if self._ending:
            if grace is None:
                for ending in self._ending:
                    ending.cancel()
            await asyncio.wait(self._ending)

    def abort(self) -> None:
        """Cuts what is under way, and a drain short."""
        self._cut.set()

    def _bind(self, server: grpc.aio.Server, address: Address, tls: ListenerTls | None) -> None:
        where = str(address)
        try:
            if address.unix is not None:
                remove_dead_socket(address.unix)
                before = os.umask(0o177)
                try:
                    server.add_insecure_port(where)
                finally:
                    os.umask(before)
                return
            port = server.add_insecure_port(where) if tls is None else server.add_secure_port(where, _credentials(tls))
        except OSError as error:
            raise OSError(f"the grpc listener cannot bind {where}: {error.strerror or error}") from error
        except RuntimeError as error:
            raise OSError(f"the grpc listener cannot bind {where}: the address is in use or not to be had") from error
        self.address = replace(address, port=port)


def _credentials(tls: ListenerTls) -> grpc.ServerCredentials:
    roots = tls.client_ca.read_bytes() if tls.client_ca is not None else None
    pair = (tls.key.read_bytes(), tls.cert.read_bytes())
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)
