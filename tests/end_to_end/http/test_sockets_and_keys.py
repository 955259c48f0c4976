"""Ways in and out of the proxy: unix sockets, TLS, and the keys that go with a call."""

from __future__ import annotations

import signal
import stat
from typing import TYPE_CHECKING, Any

import pytest

from support.proxy import free_port
from support.tls import make_certificates
from support.wire import reply

if TYPE_CHECKING:
    from pathlib import Path

    from support.proxy import StartProxy
    from support.raw_upstream import RawUpstream, StartUpstream
    from support.tls import Certificates


def one_upstream(server: RawUpstream, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"it": {"kind": "http", "url": server.url, "retry": {"attempts": 1}, **more}}}


def test_the_listener_can_be_a_unix_socket_for_its_owner_only(
    proxy: StartProxy, upstream: StartUpstream, tmp_path: Path
) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    path = tmp_path / "in.sock"
    running = proxy({**one_upstream(server), "listen": {"http": f"unix:{path}"}})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client = running.client()
    assert client.call("GET", "/it/x").body == b"hello"
    client.close()
    running.stop()


def test_a_socket_file_left_behind_by_a_killed_proxy_is_no_obstacle(
    proxy: StartProxy, upstream: StartUpstream, tmp_path: Path
) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    config = {**one_upstream(server), "listen": {"http": f"unix:{tmp_path / 'in.sock'}"}}
    first = proxy(config)
    first.process.kill()
    first.process.wait()
    second = proxy(config)
    client = second.client()
    assert client.call("GET", "/it/x").body == b"hello"
    client.close()
    first.expected_exit = -signal.SIGKILL


def test_the_upstream_can_be_a_unix_socket(proxy: StartProxy, upstream: StartUpstream, tmp_path: Path) -> None:
    server = upstream(unix=tmp_path / "out.sock")
    server.answer(reply(200, b"hello"))
    client = proxy(one_upstream(server)).client()
    assert client.call("GET", "/it/a%2Fb?c").body == b"hello"
    assert server.requests[0].target == b"/a%2Fb?c"
    assert server.requests[0].value("host")
    client.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_an_upstream_behind_tls_is_reached(
    proxy: StartProxy, upstream: StartUpstream, certificates: Certificates
) -> None:
    server = upstream(tls=certificates.server)
    server.answer(reply(200, b"hello"))
    client = proxy(one_upstream(server, tls={"ca": str(certificates.ca)})).client()
    assert client.call("POST", "/it/x", body=b"a" * 200_000).body == b"hello"
    assert server.requests[0].body == b"a" * 200_000
    assert client.call("GET", "/it/x").body == b"hello"
    assert len(server.connections) == 1
    client.close()


def test_a_client_certificate_is_shown(proxy: StartProxy, upstream: StartUpstream, certificates: Certificates) -> None:
    server = upstream(tls=certificates.server_for_known_clients)
    server.answer(reply(200, b"hello"))
    tls = {"ca": str(certificates.ca), "cert": str(certificates.client_cert), "key": str(certificates.client_key)}
    client = proxy(one_upstream(server, tls=tls)).client()
    assert client.call("GET", "/it/x").body == b"hello"
    client.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    proxy: StartProxy, upstream: StartUpstream, certificates: Certificates
) -> None:
    server = upstream(tls=certificates.server)
    server.answer(reply(200, b"hello"))
    client = proxy(one_upstream(server)).client()
    answer = client.call("GET", "/it/x")
    assert (answer.status, answer.error) == (502, "upstream_unreachable")
    assert answer.value("x-blueprint-not-sent") == b"true"
    assert server.requests == []
    client.close()


def test_the_systems_trust_store_is_asked(
    proxy: StartProxy, upstream: StartUpstream, certificates: Certificates
) -> None:
    server = upstream(tls=certificates.server)
    server.answer(reply(200, b"hello"))
    client = proxy(one_upstream(server), {"SSL_CERT_FILE": str(certificates.ca)}).client()
    assert client.call("GET", "/it/x").body == b"hello"
    client.close()


def test_a_certificate_of_another_name_is_refused(
    proxy: StartProxy, upstream: StartUpstream, certificates: Certificates
) -> None:
    server = upstream(tls=certificates.server)
    server.answer(reply(200, b"hello"))
    config = one_upstream(server, tls={"ca": str(certificates.ca)})
    config["upstreams"]["it"]["url"] = server.url.replace("127.0.0.1", "127.0.0.2")
    server_elsewhere = config["upstreams"]["it"]["url"]
    assert "127.0.0.2" in server_elsewhere
    client = proxy(config).client()
    assert client.call("GET", "/it/x").status == 502
    assert server.requests == []
    client.close()


# Keys


KEY = "sk-end-to-end-0123456789abcdef"


def test_a_key_goes_upstream_and_nowhere_else(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"), reply(500, b"broken"), reply(200, b"hello"))
    credential = {"env": "END_TO_END_KEY", "header": "authorization: Bearer {}"}
    running = proxy(one_upstream(server, credential=credential), {"END_TO_END_KEY": KEY})
    client = running.client()
    client.call("GET", "/it/x", ("Authorization", "Bearer the-jobs-own"))
    client.call("GET", "/it/y?key=the-jobs-own")
    client.call("GET", "/nowhere/y")
    server.stop()
    assert client.call("GET", "/it/z").status == 502
    assert server.requests[0].values("authorization") == [f"Bearer {KEY}".encode()]
    said = bytes(client.received).decode("latin-1")
    client.close()
    for path in ("/metrics", "/v1/config", "/v1/upstreams", "/readyz"):
        said += running.get_admin(path)[1].decode()
    running.stop()
    assert KEY not in said + running.log
    assert "the-jobs-own" not in running.log


def test_a_missing_key_is_named_and_the_rest_works(proxy: StartProxy, upstream: StartUpstream) -> None:
    server = upstream()
    server.answer(reply(200, b"hello"))
    config = one_upstream(server, credential={"env": "NOT_SET_ANYWHERE", "header": "authorization: Bearer {}"})
    config["upstreams"]["open"] = {"kind": "http", "url": server.url}
    client = proxy(config).client()
    answer = client.call("GET", "/it/x")
    assert (answer.status, answer.error) == (403, "forbidden")
    assert b"NOT_SET_ANYWHERE" in answer.body
    assert client.call("GET", "/open/x").body == b"hello"
    assert len(server.requests) == 1
    client.close()


def test_an_upstream_that_is_the_proxy_itself_is_refused_at_start(proxy: StartProxy) -> None:
    port = free_port()
    with pytest.raises(AssertionError, match="exit code 2"):
        proxy(
            {
                "listen": {"http": f"127.0.0.1:{port}"},
                "upstreams": {"self": {"kind": "http", "url": f"http://localhost:{port}"}},
            }
        )
