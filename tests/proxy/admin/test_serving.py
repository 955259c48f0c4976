import asyncio
import signal
import socket
import stat

import httpx2
import pytest
import uvloop

from blueprint_proxy.admin.app import create_app
from blueprint_proxy.admin.serving import serve_admin


def client_for(address):
    if address.startswith("unix:"):
        transport = httpx2.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
        return httpx2.AsyncClient(transport=transport, base_url="http://admin")
    return httpx2.AsyncClient(base_url=f"http://{address}")


async def while_served(app, address, act):
    """Serve, run `act(address, stopping)` once it is up, then stop."""
    stopping, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve_admin(app, address, started=started.set_result, stopping=stopping))
        try:
            await act(await started, serving)
        finally:
            stopping.set()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request):
    return request.param


@pytest.mark.parametrize("kind", ["127.0.0.1:0", "[::1]:0", "unix"])
def test_it_answers_on_every_sort_of_address(run, state, tmp_path, kind):
    address = f"unix:{tmp_path}/admin.sock" if kind == "unix" else kind

    async def act(bound, _):
        assert bound.rpartition(":")[0] == address.rpartition(":")[0]
        async with client_for(bound) as client:
            assert (await client.get("/readyz")).json() == {"ready": True}
            assert (await client.get("/v1/upstreams")).status_code == 200

    run(while_served(create_app(state), address, act))


def test_a_unix_socket_is_for_this_user_alone_and_gone_afterwards(run, state, tmp_path):
    path = tmp_path / "admin.sock"

    async def act(*_):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    run(while_served(create_app(state), f"unix:{path}", act))
    assert not path.exists()


def test_a_socket_file_that_nobody_serves_is_replaced(state, tmp_path):
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def act(bound, _):
        async with client_for(bound) as client:
            assert (await client.get("/livez")).status_code == 200

    asyncio.run(while_served(create_app(state), f"unix:{path}", act))


def bind_error(state, address):
    async def serve():
        await serve_admin(create_app(state), address, started=lambda _: None, stopping=asyncio.Event())

    with pytest.raises(OSError, match="the admin listener cannot bind") as caught:
        asyncio.run(serve())
    assert address in str(caught.value)


def test_a_socket_file_that_somebody_serves_is_left_alone(state, tmp_path):
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        bind_error(state, f"unix:{path}")
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(state, tmp_path):
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    bind_error(state, f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_taken_port_is_an_error_that_names_it_and_not_an_exit(state):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        bind_error(state, f"127.0.0.1:{other.getsockname()[1]}")


def test_it_leaves_the_processs_signals_alone(state):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    async def act(*_):
        during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        assert during[0] == before[0]

    asyncio.run(while_served(create_app(state), "127.0.0.1:0", act))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_the_port_is_free_again_after_the_stop(run, state):
    bound = []

    async def act(address, _):
        bound.append(address)

    run(while_served(create_app(state), "127.0.0.1:0", act))
    host, _, port = bound[0].rpartition(":")
    with socket.socket() as again:
        assert again.connect_ex((host, int(port))) != 0


def test_a_cancelled_server_ends_requests_connections_and_its_socket(run, tmp_path):
    path = tmp_path / "admin.sock"
    entered, ended = asyncio.Event(), []

    async def app(scope, receive, send):
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(scope["path"])

    async def act(bound, serving):
        reader, writer = await asyncio.open_unix_connection(bound.removeprefix("unix:"))
        writer.write(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        serving.cancel()
        assert await reader.read() == b""
        writer.close()
        assert ended == ["/stuck"]

    run(while_served(app, f"unix:{path}", act))
    assert not path.exists()


def test_who_asks_is_not_told_by_a_header(run, state):
    """X-Forwarded-* would move the address by which a listener without a token decides."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["client"][0], scope["scheme"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def act(bound, _):
        async with client_for(bound) as client:
            answer = await client.get("/", headers={"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"})
            assert "server" not in answer.headers

    run(while_served(app, "127.0.0.1:0", act))
    assert seen == [("127.0.0.1", "http")]
