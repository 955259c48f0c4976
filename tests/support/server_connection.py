"""A job's connection without sockets: a ServerConnection on a transport that only remembers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from blueprint_proxy.calls import Call, Reply
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.inbound.listener import Listener
from blueprint_proxy.runs.registry import Runs
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.telemetry.stream import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from blueprint_proxy.http1.heads import RequestHead
    from blueprint_proxy.inbound.http1 import ServerConnection


class RememberingTransport(asyncio.Transport):
    """What was written, and what became of the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended: list[str] = []
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def writelines(self, pieces: Any) -> None:
        self.written += b"".join(pieces)

    def is_closing(self) -> bool:
        return bool(set(self.ended) & {"close", "abort"})

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended.append("eof")

    def close(self) -> None:
        self.ended.append("close")

    def abort(self) -> None:
        self.ended.append("abort")

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


class Served:
    """An upstream named `it`: remembers its calls and answers them with `answer`."""

    name = "it"

    def __init__(self, answer: Callable[[Call], Awaitable[Reply]]) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.flows: list[Any] = []
        self.make_body: Callable[[RequestHead, Any], Any] = lambda _head, _flow: b""

    def call(self, head: RequestHead, target: bytes, whole: bytes | None, flow: Any, **about: Any) -> Call:
        body = whole if whole is not None else self.make_body(head, flow)
        call = Call(
            upstream="it", operation="GET", method=head.method, target=target, headers=head.fields, body=body,
            settings=None, policies=None, repeatable=True, arrived=0.0, **about,
        )  # type: ignore[arg-type]  # fmt: skip
        self.calls.append(call)
        return call

    def send(self, call: Call) -> Awaitable[Reply]:
        return self.answer(call)


def ok(body: bytes = b"fine") -> Reply:
    return Reply(200, Fields.of([(b"Content-Length", b"%d" % len(body))]), body, reason=b"OK", framed=True)


def connect(served: Served, **changes: Any) -> tuple[ServerConnection, RememberingTransport, Listener]:
    loop = asyncio.get_running_loop()
    telemetry = changes.get("telemetry") or Telemetry()
    nowhere: Any = None
    runs = Runs(telemetry, addresses=lambda _run, _reached: nowhere)
    settings: dict[str, Any] = {
        "telemetry": telemetry, "sweep": Sweep(loop), "runs": runs, "via": b"blueprint-proxy-test",
        "own": frozenset({b"here:1"}), "authority": b"here:1", "scheme": b"http", "token": None,
    }  # fmt: skip
    listener = Listener({b"it": served}, **(settings | changes))
    connection, transport = listener(), RememberingTransport()
    connection.connection_made(transport)
    return connection, transport, listener
