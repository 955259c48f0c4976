"""The connection to the upstream: restarts, idle closes, keepalive, TLS, unix sockets."""

import time

import grpc
import pytest
import trustme

from support.proxy import free_port
from support.rpc_upstream import BIG, PATIENCE, RpcUpstream, value, wait_until

pytestmark = pytest.mark.end_to_end


def test_all_calls_share_one_connection(scene):
    it = scene()
    for _ in range(5):
        it.unary()(b"x")
        list(it.stream()(iter([b"1"])))
    assert len(it.tap.connections) == 1


def test_a_restarted_upstream_is_used_again_within_about_a_second(scene):
    it = scene()
    it.unary()(b"x")
    port = it.server.port
    it.server.stop()
    for _ in range(3):
        it.fails()
    time.sleep(3)  # so that the back-off has grown as far as it will
    it.fails()
    it.server = RpcUpstream(port)
    began = time.monotonic()

    def serves():
        try:
            return it.unary()(b"x") == b"x"
        except grpc.RpcError:
            return False

    wait_until(serves)
    assert time.monotonic() - began < 2.0


def test_an_upstream_that_closes_idle_connections_is_not_noticed(scene):
    it = scene(server={"options": [*BIG, ("grpc.max_connection_idle_ms", 100)]})
    for number in range(4):
        assert it.unary()(b"%d" % number) == b"%d" % number
        count = len(it.tap.connections)
        wait_until(lambda: any(seen.connection == count - 1 for seen in it.tap.frames("down", "GoAway")))  # noqa: B023 -- at once
    assert len(it.tap.connections) == 4
    assert len(it.server.heard) == 4


def test_an_upstream_that_ages_connections_is_not_noticed_by_any_of_many_calls(scene):
    it = scene(
        server={"options": [*BIG, ("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 2000)]}
    )
    until = time.monotonic() + 1.5
    calls = 0
    while time.monotonic() < until:
        assert it.unary()(b"x") == b"x"
        calls += 1
    assert len(it.tap.connections) > 3
    assert len(it.server.heard) == calls


def test_keepalive_pings_are_as_rare_as_every_server_allows(scene):
    """The library announces nothing on the wire, so what is asked is that nobody is punished on a strict server."""
    strict = [*BIG, ("grpc.http2.min_recv_ping_interval_without_data_ms", 300_000), ("grpc.http2.max_ping_strikes", 1)]
    it = scene(server={"options": strict})

    def slow(messages, context, heard):
        yield b"1"
        heard.over.wait(2)
        yield b"2"

    it.server.on("/s.T/chat", slow)
    assert list(it.stream()(iter([b"x"]))) == [b"1", b"2"]
    for _ in range(20):
        it.unary()(b"x")
    assert it.tap.frames("down", "GoAway") == []
    assert len(it.tap.connections) == 1


def test_grpcs_checks_the_upstreams_certificate_and_shows_the_proxys(scene, tmp_path):
    ca = trustme.CA()
    server_cert, client_cert = ca.issue_cert("localhost"), ca.issue_cert("proxy@example.test")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client_cert.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client_cert.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    upstream = RpcUpstream()
    pair = (server_cert.private_key_pem.bytes(), server_cert.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], ca.cert_pem.bytes(), require_client_auth=True)
    port = _secure(upstream, credentials)
    files = {"ca": str(tmp_path / "ca.pem"), "cert": str(tmp_path / "client.pem"), "key": str(tmp_path / "client.key")}
    url = f"grpcs://localhost:{port}"
    assert scene({"url": url, "tls": files}).unary()(b"x") == b"x"
    for bad in ({"ca": files["ca"]}, {}):
        error = scene({"url": url, "tls": bad, "retry": {"attempts": 1}}).fails()
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert value(error.trailing_metadata(), "x-blueprint-error") == "upstream_unreachable"
    upstream.stop()


def _secure(upstream, credentials):
    """Another server of the same behaviour, behind TLS."""
    upstream.server.stop(0)
    from concurrent.futures import ThreadPoolExecutor

    upstream.server = grpc.server(ThreadPoolExecutor(8), options=BIG)
    upstream.server.add_generic_rpc_handlers((upstream,))
    port = upstream.server.add_secure_port("localhost:0", credentials)
    upstream.server.start()
    return port


def test_a_file_that_is_no_certificate_stops_the_start_with_a_sentence(scene, tmp_path):
    bad = tmp_path / "ca.pem"
    bad.write_text("nonsense")
    with pytest.raises(AssertionError, match=r"upstreams\.svc\.tls"):
        scene({"url": "grpcs://localhost:1", "tls": {"ca": str(bad)}})


def test_an_upstream_on_a_unix_socket(scene, tmp_path):
    upstream = RpcUpstream()
    upstream.server.stop(0)
    from concurrent.futures import ThreadPoolExecutor

    upstream.server = grpc.server(ThreadPoolExecutor(8), options=BIG)
    upstream.server.add_generic_rpc_handlers((upstream,))
    upstream.server.add_insecure_port(f"unix:{tmp_path}/up.sock")
    upstream.server.start()
    assert scene({"url": f"unix:{tmp_path}/up.sock"}).unary()(b"x") == b"x"
    upstream.stop()


def test_the_listener_on_a_unix_socket_is_for_this_user_alone(scene, tmp_path):
    path = tmp_path / "jobs.sock"
    it = scene(config={"listen": {"grpc": f"unix:{path}"}})
    assert it.unary()(b"x") == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    it.proxy.stop()
    assert not path.exists()


def test_the_listener_with_tls_and_a_token(scene, tmp_path):
    ca = trustme.CA()
    cert = ca.issue_cert("127.0.0.1")
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    port = free_port()
    token = tmp_path / "token"
    token.write_text("s3cret")
    it = scene(
        config={
            "listen": {
                "grpc": f"0.0.0.0:{port}",
                "admin": f"unix:{tmp_path}/admin.sock",
                "http": f"unix:{tmp_path}/http.sock",
            },
            "tls": {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")},
            "jobs": {"token": {"file": str(token)}},
        }
    )
    secure = grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(ca.cert_pem.bytes()))
    it.opened.append(secure)
    grpc.channel_ready_future(secure).result(PATIENCE)
    call = secure.unary_unary("/a.B/c")
    assert call(b"x", metadata=(("x-blueprint-token", "s3cret"),)) == b"x"
    assert "x-blueprint-token" not in {name for name, _ in it.tap.only_request().fields}
    for metadata in ((), (("x-blueprint-token", "wrong"),)):
        with pytest.raises(grpc.RpcError) as caught:
            call(b"x", metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert value(caught.value.trailing_metadata(), "x-blueprint-error") == "unauthenticated"
    assert "s3cret" not in it.proxy.log
    assert len(it.server.heard) == 1
