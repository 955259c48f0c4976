import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from blueprint_proxy.admin import connection
from blueprint_proxy.admin.serving import serve_admin
from support.virtual_time import virtual_time


class Served:
    """An application over a unix socket, and what it was asked."""

    def __init__(self, path):
        self.path = path
        self.scopes = []
        self.messages = []
        self.hold = asyncio.Event()
        self.entered = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.entered.set()
        if scope["path"] == "/held":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"held", "more_body": True})
            await self.hold.wait()
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["path"] == "/flood":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            return
        while scope["path"] != "/early":
            message = await receive()
            self.messages.append(message)
            if not message.get("more_body", False):
                break
        if scope["path"] == "/early" or message["type"] == "http.request":
            fields = [(b"content-length", b"2"), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": fields})
            await send({"type": "http.response.body", "body": b"{}"})

    async def connect(self):
        return await asyncio.open_unix_connection(self.path)


@asynccontextmanager
async def serving(tmp_path):
    served = Served(str(tmp_path / "admin.sock"))
    started, stopping = asyncio.Event(), asyncio.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(served.path)
        listener.listen(1024)
        listener.setblocking(False)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_admin(served, listener, started=started.set, stopping=stopping))
            await started.wait()
            try:
                yield served
            finally:
                served.hold.set()
                stopping.set()


async def answer(reader):
    """Status and body of an answer with a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return int(head.split()[1]), await reader.readexactly(int(fields[b"content-length"]))


async def last_answer(reader, writer):
    """Status and reason of an answer after which the connection ends."""
    status, body = await answer(reader)
    assert await reader.read() == b""
    writer.close()
    return status, json.loads(body)["error"]["reason"]


def get(path="/", *fields):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{''.join(field + chr(13) + chr(10) for field in fields)}\r\n".encode()


@virtual_time
async def test_a_request_carries_the_socket_it_came_by(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(get())
        assert await answer(reader) == (200, b"{}")
        assert served.scopes[0]["state"]["connection"].family == socket.AF_UNIX
        writer.close()


@virtual_time
async def test_a_connection_serves_many_requests_one_after_another(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(get("/1") + get("/2"))
        for _ in range(2):
            assert await answer(reader) == (200, b"{}")
        await asyncio.sleep(connection.REQUEST_TIME * 2)
        writer.write(get("/3"))
        assert await answer(reader) == (200, b"{}")
        assert [scope["path"] for scope in served.scopes] == ["/1", "/2", "/3"]
        writer.close()


@virtual_time
async def test_a_head_beyond_the_limit_is_a_431_before_it_is_whole(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await asyncio.sleep(1)
        writer.write(b"A: " + b"x" * connection.HEAD_LIMIT)
        assert await last_answer(reader, writer) == (431, "too_large")
        assert served.scopes == []


@virtual_time
async def test_a_whole_head_beyond_the_limit_is_a_431_too(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        for _ in range(2):
            writer.write(get("/", *(f"A{number}: {'x' * 1000}" for number in range(70))))
        assert await last_answer(reader, writer) == (431, "too_large")
        assert served.scopes == []


@pytest.mark.parametrize("target", ["http://evil.example/", "*", "localhost:443"])
def test_a_target_that_is_no_path_is_a_400(tmp_path, target):
    @virtual_time
    async def asked():
        async with serving(tmp_path) as served:
            reader, writer = await served.connect()
            writer.write(get(target))
            assert await last_answer(reader, writer) == (400, "bad_request")
            assert served.scopes == []

    asked()


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n1",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    ],
)
def test_an_ambiguous_or_broken_request_is_a_400_and_ends_the_connection(tmp_path, head):
    @virtual_time
    async def asked():
        async with serving(tmp_path) as served:
            reader, writer = await served.connect()
            writer.write(head)
            assert await last_answer(reader, writer) == (400, "bad_request")

    asked()


@virtual_time
async def test_trailers_are_dropped(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
        )
        assert await answer(reader) == (200, b"{}")
        assert [name for name, _ in served.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]
        writer.close()


@virtual_time
async def test_an_offer_to_upgrade_is_not_taken_up(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(get("/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"))
        assert await answer(reader) == (200, b"{}")
        writer.close()


@virtual_time
async def test_a_connection_that_says_nothing_is_closed(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        before = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - before == connection.REQUEST_TIME
        writer.close()


@virtual_time
async def test_a_head_that_never_ends_is_a_408(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        for part in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n", b"A: x\r\n"):
            writer.write(part)
            await asyncio.sleep(connection.REQUEST_TIME * 0.3)
        assert await last_answer(reader, writer) == (408, "bad_request")
        assert served.scopes == []


@virtual_time
async def test_a_body_that_never_ends_is_a_408_and_its_route_learns_that_the_job_left(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert await last_answer(reader, writer) == (408, "bad_request")
        assert served.messages[-1] == {"type": "http.disconnect"}


@virtual_time
async def test_a_held_request_has_all_the_time_it_wants(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(get("/held"))
        await reader.readuntil(b"held")
        await asyncio.sleep(3600)
        served.hold.set()
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
        writer.close()


@virtual_time
async def test_a_request_that_breaks_off_behind_a_held_one_ends_the_connection_without_a_word(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(get("/held"))
        await reader.readuntil(b"held")
        writer.write(b"nonsense\r\n\r\n")
        assert b"HTTP/1.1" not in await reader.read()
        writer.close()


@virtual_time
async def test_a_body_that_breaks_off_behind_a_held_request_ends_the_connection_without_a_word(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(get("/held"))
        await reader.readuntil(b"held")
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert b"HTTP/1.1" not in await reader.read()
        writer.close()


@virtual_time
async def test_what_follows_an_early_answer_is_read_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "MESSAGE_LIMIT", 300_000)
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        assert await answer(reader) == (200, b"{}")
        writer.write(b"x" * 200_000 + get())
        assert await answer(reader) == (200, b"{}")
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        assert await answer(reader) == (200, b"{}")
        with pytest.raises(ConnectionError):
            await flood(writer, 2_000_000)
        writer.close()


async def flood(writer, size):
    for _ in range(0, size, 50_000):
        writer.write(b"x" * 50_000)
        await writer.drain()


@virtual_time
async def test_what_never_follows_an_early_answer_gets_no_second_one(tmp_path):
    async with serving(tmp_path) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        assert await answer(reader) == (200, b"{}")
        assert await reader.read() == b""
        writer.close()


@virtual_time
async def test_a_broken_request_after_others_is_told_so(tmp_path):
    async with serving(tmp_path) as served:
        for broken, status in ((b"nonsense\r\n\r\n", 400), (get("*"), 400), (b"GET / HTTP/1.1\r\n", 408)):
            reader, writer = await served.connect()
            writer.write(get())
            assert await answer(reader) == (200, b"{}")
            writer.write(broken)
            assert await last_answer(reader, writer) == (status, "bad_request")


@virtual_time
async def test_who_does_not_read_its_answer_is_cut_off(tmp_path):
    async with serving(tmp_path) as served:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        with sock:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, served.path)
            await loop.sock_sendall(sock, get("/flood"))
            await served.entered.wait()
            await asyncio.sleep(connection.STALL_TIME + 1)
            received = 0
            while part := await loop.sock_recv(sock, 1 << 20):
                received += len(part)
            assert received < 100 * 65536


@virtual_time
async def test_beyond_the_most_connections_the_one_idle_for_the_longest_time_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 3)
    async with serving(tmp_path) as served:
        held_reader, held = await served.connect()
        held.write(get("/held"))
        await held_reader.readuntil(b"held")
        idle = []
        for _ in range(2):
            reader, writer = await served.connect()
            writer.write(get())
            await answer(reader)
            idle.append((reader, writer))
            await asyncio.sleep(1)
        probe_reader, probe = await served.connect()
        probe.write(get())
        assert await answer(probe_reader) == (200, b"{}")
        assert await idle[0][0].read() == b""
        idle[1][1].write(get())
        assert await answer(idle[1][0]) == (200, b"{}")
        for writer in (held, probe, *(writer for _, writer in idle)):
            writer.close()


@virtual_time
async def test_where_every_connection_is_busy_a_new_one_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 2)
    async with serving(tmp_path) as served:
        held = []
        for _ in range(2):
            reader, writer = await served.connect()
            writer.write(get("/held"))
            await reader.readuntil(b"held")
            held.append(writer)
        reader, writer = await served.connect()
        assert await last_answer(reader, writer) == (503, "overloaded")
        for writer in held:
            writer.close()
