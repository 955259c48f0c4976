"""An HTTP/1.1 server that stands in for an upstream, misbehaves by script and remembers every request.

Raw asyncio streams, because a fault needs the socket: a reset, a silence, a body cut short. Requests on one
connection are answered one after the other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Self

from blueprint_proxy.demo.faults import Fault, FaultScript, fault_to_json, faults_from
from blueprint_proxy.demo.wire import HEAD_LIMIT, Request, Response, json_response, read_request, send

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

REPORT = "/__stand_in/report"
FAULTS = "/__stand_in/faults"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST


@dataclasses.dataclass(slots=True)
class Exchange:
    """One request and what came of it.

    `at` is in seconds of the machine's monotonic clock, which all its processes share. `key` says whether the request
    carried the "expected" key, an "other" one or "none". `outcome` is the status sent, or what was done instead.
    """

    number: int
    at: float
    request: Request
    key: str
    fault: Fault | None = None
    outcome: str = ""
    refused: bool = False
    executed: bool = False


class StandIn:
    """The server. A kind of upstream subclasses it with `answer` and `failure`.

    `faults` act by script. Any request whose Host is not this server's own address is refused with 421, and with
    `only_through_proxy` also any request without a Via field (403), so that a caller who goes around the proxy fails.
    """

    name = "stand-in"

    def __init__(
        self,
        *,
        faults: Iterable[Fault] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        only_through_proxy: bool = False,
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.script = FaultScript(faults)
        self._host = host
        self._port = port
        self._key = key
        self._only_through_proxy = only_through_proxy
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def answer(self, request: Request) -> Response:
        """Do what the request asks and answer it."""
        raise NotImplementedError

    def failure(self, status: int, message: str, *, retry_delay: float | None = None) -> Response:
        """Shape an error as the API does; `retry_delay` in seconds, where the API has a place for it."""
        raise NotImplementedError

    def presented_key(self, request: Request) -> str | None:
        """Read the API key that a request carries, None for none."""
        return request.header("x-goog-api-key") or None

    async def start(self) -> None:
        """Listen; with port 0 the system chooses one, and `address` knows it afterwards."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=HEAD_LIMIT)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and break what is still open."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def address(self) -> str:
        """`host:port`, the only Host that is served."""
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """The base address to configure as the upstream's url."""
        return f"http://{self.address}"

    def report(self) -> dict[str, Any]:
        """Tell what happened as JSON values, without any key: requests seen, attempts let in, those executed."""
        return {
            "name": self.name,
            "url": self.url,
            "requests": len(self.exchanges),
            "attempts": sum(not exchange.refused for exchange in self.exchanges),
            "executed": sum(exchange.executed for exchange in self.exchanges),
            "faults_left": self.script.left,
            "exchanges": [self._described(exchange) for exchange in self.exchanges],
        }

    def _described(self, exchange: Exchange) -> dict[str, Any]:
        request = exchange.request
        presented = self.presented_key(request)

        def without_key(text: str) -> str:
            return text if presented is None else text.replace(presented, f"[{exchange.key} key]")

        return {
            "number": exchange.number,
            "at": exchange.at,
            "method": request.method,
            "target": without_key(request.target),
            "headers": [(name, without_key(value)) for name, value in request.headers],
            "body_bytes": len(request.body),
            "key": exchange.key,
            "fault": None if exchange.fault is None else fault_to_json(exchange.fault),
            "outcome": exchange.outcome,
            "refused": exchange.refused,
            "executed": exchange.executed,
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this callback in a task of its own
        self._connections[task] = writer
        try:
            while (request := await read_request(reader, writer)) is not None:
                if not await self._exchange(request, reader, writer) or not request.keeps_connection:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            writer.transport.abort()  # the peer left, or what it sent is not HTTP
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is over."""
        if request.path in {REPORT, FAULTS} and not request.header("via"):
            return await send(self._own_page(request), request, writer)
        presented = self.presented_key(request)
        key = "none" if presented is None else "expected" if presented == self._key else "other"
        exchange = Exchange(len(self.exchanges) + 1, time.monotonic(), request, key)
        self.exchanges.append(exchange)
        refusal = self._refusal(request)
        if refusal is not None:
            exchange.refused, exchange.outcome = True, str(refusal.status)
            return await send(refusal, request, writer)
        fault = exchange.fault = self.script.take(request.method, request.target)
        if fault is not None:
            return await self._misbehave(fault, exchange, reader, writer)
        response = await self._act(exchange)
        exchange.outcome = str(response.status)
        return await send(response, request, writer)

    def _own_page(self, request: Request) -> Response:
        if request.path == REPORT:
            return json_response(self.report())
        self.script = FaultScript(faults_from(json.loads(request.body)))
        return json_response({"faults_left": self.script.left})

    def _refusal(self, request: Request) -> Response | None:
        host = request.header("host")
        if host != self.address:
            return json_response(_plain_error(421, f"this server is {self.address}, not {host}"), 421)
        if self._only_through_proxy and not request.header("via"):
            return json_response(_plain_error(403, "this request went around the proxy: it has no Via field"), 403)
        return None

    async def _act(self, exchange: Exchange) -> Response:
        response = await self.answer(exchange.request)
        exchange.executed = response.status < 400
        return response

    async def _misbehave(
        self, fault: Fault, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        exchange.outcome = str(fault)
        response = await self._act(exchange) if fault.does_the_work else None
        match fault.kind:
            case "status":
                return await send(self.failure(fault.status, "injected by the script"), exchange.request, writer)
            case "throttle":
                response = self.failure(429, "injected by the script", retry_delay=fault.retry_delay)
                return await send(response, exchange.request, writer)
            case "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()
                return False
            case "stall":
                if await _left_within(reader, fault.seconds):
                    return False
                assert response is not None  # noqa: S101 - a stall does the work first
                return await send(response, exchange.request, writer)
            case _:
                assert response is not None  # noqa: S101 - a cut does the work first
                return await send(response, exchange.request, writer, cut_after=fault.after)


def _plain_error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION"}}


async def _left_within(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Whether the peer closes within `seconds`. A peer that pipelines into the silence is treated as one that left."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return False
    return True
