"""The gRPC server around the listener: its port, its TLS, its limits, and its end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

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
    """

    def __init__(self, listener: RpcListener, address: Address, tls: ListenerTls | None, *, limit: int) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # two processes on one port would share its connections
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.max_metadata_size", LARGEST_METADATA),
                ("grpc.absolute_max_metadata_size", LARGEST_METADATA),
                ("grpc.http2.max_ping_strikes", 0),  # a job may ping as often as it likes: it is on this host
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        self._server.add_generic_rpc_handlers((listener,))
        self._cut = asyncio.Event()
        self.limit = limit
        self.address = address
        self._bind(address, tls)

    async def start(self) -> None:
        await self._server.start()

    async def drain(self, grace: float) -> bool:
        """No new calls; those under way have `grace` seconds. Whether all of them ended by then."""
        loop = asyncio.get_running_loop()
        stopping = loop.create_task(self._server.stop(LONGEST_DRAIN))
        cut = loop.create_task(self._cut.wait())
        try:
            await asyncio.wait([stopping, cut], timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            drained = stopping.done()
            if not drained:
                await self._server.stop(None)
            await stopping
        finally:
            cut.cancel()
        return drained

    def abort(self) -> None:
        """Cuts what is under way, and a drain short."""
        self._cut.set()

    def _bind(self, address: Address, tls: ListenerTls | None) -> None:
        where = str(address)
        try:
            if address.unix is not None:
                remove_dead_socket(address.unix)
                before = os.umask(0o177)
                try:
                    self._server.add_insecure_port(where)
                finally:
                    os.umask(before)
                return
            port = (
                self._server.add_insecure_port(where)
                if tls is None
                else self._server.add_secure_port(where, _credentials(tls))
            )
        except OSError as error:
            raise OSError(f"the grpc listener cannot bind {where}: {error.strerror or error}") from error
        except RuntimeError as error:
            raise OSError(f"the grpc listener cannot bind {where}: the address is in use or not to be had") from error
        self.address = replace(address, port=port)


def _credentials(tls: ListenerTls) -> grpc.ServerCredentials:
    roots = tls.client_ca.read_bytes() if tls.client_ca is not None else None
    pair = (tls.key.read_bytes(), tls.cert.read_bytes())
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)
