import asyncio
import signal
import socket
import ssl

import httpx2
import pytest
import uvloop

from blueprint_proxy.admin.app import create_app
from blueprint_proxy.admin.serving import serve_admin
from blueprint_proxy.config.addresses import parse_address
from blueprint_proxy.listening import ListeningSocket
from support.tls import make_certificates


def client_for(address):
    if address.startswith("unix:"):
        transport = httpx2.AsyncHTTPTransport(uds=address.removeprefix("unix:"))
        return httpx2.AsyncClient(transport=transport, base_url="http://admin")
    return httpx2.AsyncClient(base_url=f"http://{address}")


async def while_served(app, address, act, tls=None):
    """Serve, run `act(address, serving)` once it is up, then stop."""
    stopping, started = asyncio.Event(), asyncio.Event()
    with ListeningSocket(parse_address(address), "the admin listener") as listening:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(
                serve_admin(app, listening.socket, started=started.set, stopping=stopping, tls=tls)
            )
            await started.wait()
            try:
                await act(str(listening.address), serving)
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

    run(while_served(create_app(state, runs=None, guard=None), address, act))


def test_it_speaks_tls_where_the_listeners_have_it(run, state, tmp_path):
    certificates = make_certificates(tmp_path)

    async def act(bound, _):
        trust = ssl.create_default_context(cafile=certificates.ca)
        async with httpx2.AsyncClient(base_url=f"https://{bound}", verify=trust) as client:
            assert (await client.get("/readyz")).json() == {"ready": True}
        async with client_for(bound) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get("/readyz")

    run(while_served(create_app(state, runs=None, guard=None), "127.0.0.1:0", act, certificates.server))


def test_it_leaves_the_processs_signals_alone(state):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    async def act(*_):
        during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        assert during[0] == before[0]

    asyncio.run(while_served(create_app(state, runs=None, guard=None), "127.0.0.1:0", act))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_the_port_is_free_again_after_the_stop(run, state):
    bound = []

    async def act(address, _):
        bound.append(address)

    run(while_served(create_app(state, runs=None, guard=None), "127.0.0.1:0", act))
    host, _, port = bound[0].rpartition(":")
    with socket.socket() as again:
        assert again.connect_ex((host, int(port))) != 0


def test_a_cancelled_server_ends_its_requests_and_connections(run, tmp_path):
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
