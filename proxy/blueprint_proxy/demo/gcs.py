"""A stand-in for Google Cloud Storage: gcp-storage-emulator from PyPI, behind a front that misbehaves by script.

    python -m blueprint_proxy.demo.gcs --port 0 --faults '[{"kind": "cut", "on": "GET *alt=media*", "after": 1000}]'

The emulator stores and serves; it speaks HTTP/1.0 and takes one request a connection. The front keeps connections,
injects the faults, checks the Host and records. What the emulator does not do (it accepts ifGenerationMatch without
looking) stays undone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

from gcp_storage_emulator.server import RequestHandler  # type: ignore[import-untyped]
from gcp_storage_emulator.storage import Storage  # type: ignore[import-untyped]

from blueprint_proxy.demo.hosting import serve_as_process
from blueprint_proxy.demo.stand_in import StandIn
from blueprint_proxy.demo.wire import Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint_proxy.demo.faults import Fault

_REASONS = {429: "rateLimitExceeded", 404: "notFound", 408: "requestTimeout"}
_NOT_RELAYED = {"connection", "content-length", "expect", "keep-alive", "transfer-encoding"}


class _Emulator(ThreadingHTTPServer):
    """The emulator's own request handler in threads: its plain server blocks on one idle connection."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: a caller that left is no news here."""


class GcsStandIn(StandIn):
    """The emulator and its front on one address. It checks no credential: storage emulators are used anonymously."""

    name = "gcs"

    def __init__(
        self, *, faults: Iterable[Fault] = (), port: int = 0, only_through_proxy: bool = False, key: str | None = None
    ) -> None:
        super().__init__(faults=faults, port=port, only_through_proxy=only_through_proxy, key=key)
        self._emulator: _Emulator | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the emulator in a thread, then listen."""
        logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
        self._emulator = _Emulator(("127.0.0.1", 0), partial(RequestHandler, Storage(use_memory_fs=True)))
        self._thread = threading.Thread(target=self._emulator.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        await super().start()

    async def close(self) -> None:
        """Stop the front, then the emulator; what it stored is gone."""
        await super().close()
        if self._emulator is not None and self._thread is not None:
            await asyncio.to_thread(self._emulator.shutdown)
            self._thread.join()
            self._emulator.server_close()
            self._emulator = None

    def failure(self, status: int, message: str, *, retry_delay: float | None = None) -> Response:
        """Shape an error as the JSON API does, which has no place for a delay but Retry-After, in whole seconds."""
        reason = _REASONS.get(status, "backendError")
        error = {
            "code": status,
            "message": message,
            "errors": [{"message": message, "domain": "global", "reason": reason}],
        }
        wait = () if retry_delay is None else (("Retry-After", str(max(1, round(retry_delay)))),)
        return json_response({"error": error}, status, wait)

    async def answer(self, request: Request) -> Response:
        """Relay one request to the emulator on a connection of its own, and its whole answer back."""
        assert self._emulator is not None  # noqa: S101 - started before anything is answered
        reader, writer = await asyncio.open_connection("127.0.0.1", self._emulator.server_port)
        try:
            fields = [field for field in request.headers if field[0].lower() not in _NOT_RELAYED]
            fields.append(("Content-Length", str(len(request.body))))
            lines = [f"{request.method} {request.target} HTTP/1.0", *(f"{name}: {value}" for name, value in fields)]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
            await writer.drain()
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        return _parsed(head, body)


def _parsed(head: bytes, body: bytes) -> Response:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = ((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    kept = tuple(field for field in fields if field[0].lower() not in _NOT_RELAYED)
    return Response(int(first.split(" ")[1]), kept, body)


def main() -> None:
    """Run the stand-in as a process."""
    serve_as_process(
        "gcs",
        lambda faults, key, port, only_through_proxy: GcsStandIn(
            faults=faults, port=port, only_through_proxy=only_through_proxy, key=key
        ),
    )


if __name__ == "__main__":
    main()
