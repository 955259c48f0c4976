"""HTTP/1.1 as a stand-in speaks it: a request read from a stream, a response written to one, whole or cut."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_LIMIT = 64 * 1024  # bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A whole request: `target` as on the wire, `headers` in order and case, `body` without its framing."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)  # they carry the key
    body: bytes = dataclasses.field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of a field, by its case-insensitive name."""
        return next((value for field, value in self.headers if field.lower() == name.lower()), default)

    @property
    def keeps_connection(self) -> bool:
        """Whether another request may follow on the same connection."""
        return self.version == "HTTP/1.1" and self.header("connection").lower() != "close"


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """An answer; a body given as a sequence goes out chunked, one chunk an item, `pause` seconds apart."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Sequence[bytes] = b""
    pause: float = 0.0


def json_response(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Make a JSON answer in the layout that Google's servers use."""
    body = json.dumps(value, indent=2).encode() + b"\n"
    return Response(status, (("Content-Type", "application/json; charset=UTF-8"), *headers), body)


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """Read the next request, body included; None at a clean end. ValueError where it is not HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    request = Request(method, target, version, fields)
    if request.header("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in request.header("transfer-encoding").lower():
        return dataclasses.replace(request, body=await _read_chunks(reader))
    return dataclasses.replace(request, body=await reader.readexactly(int(request.header("content-length", "0"))))


async def send(
    response: Response, request: Request, writer: asyncio.StreamWriter, *, cut_after: int | None = None
) -> bool:
    """Write a response; False when the connection must end. `cut_after` bytes of body the response just stops."""
    body = response.body
    chunks = [body] if isinstance(body, bytes) else list(body)
    chunked = not isinstance(body, bytes)
    fields = list(response.headers)
    if response.status not in {204, 304}:
        fields.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body))))
    if not request.keeps_connection:
        fields.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}", *(f"{name}: {value}" for name, value in fields)]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    left = sum(map(len, chunks)) + 1 if cut_after is None else cut_after
    for chunk in chunks if request.method != "HEAD" else []:
        part = chunk[:left]
        if chunked and part:
            writer.write(b"%x\r\n%b" % (len(chunk), part))
            writer.write(b"\r\n" if len(part) == len(chunk) else b"")
        else:
            writer.write(part)
        await writer.drain()
        left -= len(part)
        if left == 0:
            return False
        await asyncio.sleep(response.pause)
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _phrase(status: int) -> str:
    return next((known.phrase for known in HTTPStatus if known == status), "Unknown")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailer fields are of no interest here
    return bytes(body)
