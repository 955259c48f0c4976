from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest
import trustme

from blueprint_proxy.admin.asking import ask
from blueprint_proxy.config import load


class Answering(BaseHTTPRequestHandler):
    """Answers with what the test put into `answer` (status, body), and notes what it was asked."""

    protocol_version = "HTTP/1.1"
    answer = (200, b"{}")

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("authorization")))
        status, body = self.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("unix", 0)


@pytest.fixture
def serve():
    running = []

    def start(status=200, body=b"{}", *, unix=None, tls=None):
        handler = type("Handler", (Answering,), {"answer": (status, body)})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler) if unix is None else UnixServer(str(unix), handler)
        server.daemon_threads = True
        server.asked = []
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def config(tmp_path):
    """The configuration whose admin listener is the server's address."""

    def configured(server, text="", **environ):
        address = server
        if not isinstance(server, str):
            at = server.server_address
            address = f"{at[0]}:{at[1]}" if isinstance(server, HTTPServer) else f"unix:{at}"
        file = tmp_path / "proxy.yaml"
        file.write_text(f"listen: {{admin: '{address}'}}\n{text}")
        return load(file, environ)

    return configured


def test_it_gives_what_the_proxy_says(serve, config):
    server = serve(200, b'[{"name": "gcs"}]')
    assert ask(config(server), "/v1/upstreams") == [{"name": "gcs"}]
    assert server.asked == [("/v1/upstreams", None)]


def test_it_asks_over_a_unix_socket(serve, config, tmp_path):
    server = serve(200, b"[]", unix=tmp_path / "admin.sock")
    assert ask(config(server), "/v1/upstreams") == []


def test_it_shows_the_operators_token(serve, config, tmp_path):
    server = serve()
    (tmp_path / "token").write_text("operators-token\n")
    ask(config(server, f"admin: {{token: {{file: '{tmp_path}/token'}}}}"), "/x")
    assert server.asked == [("/x", "Bearer operators-token")]


def test_a_refusal_is_told_in_the_proxys_words(serve, config):
    server = serve(401, b'{"error": {"message": "the operator token is needed"}}')
    with pytest.raises(OSError, match=r"^the proxy at 127\.0\.0\.1:\d+ refuses: the operator token is needed$"):
        ask(config(server), "/x")


@pytest.mark.parametrize(("status", "body"), [(200, b"hello"), (404, b"<html>"), (500, b"{}"), (500, b"[]")])
def test_somebody_else_at_the_address_is_not_taken_for_the_proxy(serve, config, status, body):
    with pytest.raises(OSError, match=f"something else than this proxy answers .*: status {status}$"):
        ask(config(serve(status, body)), "/x")


def test_nobody_at_the_address_is_said(config):
    with pytest.raises(OSError, match=r"^no proxy answers at 127\.0\.0\.1:9: "):
        ask(config("127.0.0.1:9"), "/x")


def test_the_environments_proxies_are_not_asked(serve, config, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(config(serve()), "/x") == {}


def tls_text(tmp_path, cert, key):
    cert.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    key.private_key_pem.write_to_path(tmp_path / "key.pem")
    return f"tls: {{cert: '{tmp_path}/cert.pem', key: '{tmp_path}/key.pem'}}"


def context_of(cert):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def test_over_tls_the_listeners_own_certificate_is_trusted_under_any_name(serve, config, tmp_path):
    cert = trustme.CA().issue_cert("sidecar.example")
    server = serve(200, b"[1]", tls=context_of(cert))
    assert ask(config(server, tls_text(tmp_path, cert, cert)), "/x") == [1]


def test_over_tls_another_certificate_of_the_same_authority_is_not_trusted(serve, config, tmp_path):
    authority = trustme.CA()
    ours, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    server = serve(200, b"[1]", tls=context_of(other))
    server.handle_error = lambda *_: None
    with pytest.raises(OSError, match="no proxy answers at"):
        ask(config(server, tls_text(tmp_path, ours, ours)), "/x")
    assert server.asked == []


def test_a_listener_that_asks_for_a_certificate_is_shown_its_own(serve, config, tmp_path):
    authority = trustme.CA()
    cert = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    asking = context_of(cert)
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    text = tls_text(tmp_path, cert, cert).replace("}", f", client_ca: '{tmp_path}/ca.pem'}}")
    assert ask(config(serve(200, b"[1]", tls=asking), text), "/x") == [1]


def test_a_listener_that_does_not_know_its_own_certificate_may_be_why_nothing_answers(serve, config, tmp_path):
    cert, other = trustme.CA().issue_cert("127.0.0.1"), trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "ca.pem")
    asking = context_of(cert)
    other.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    text = tls_text(tmp_path, cert, cert).replace("}", f", client_ca: '{tmp_path}/ca.pem'}}")
    server = serve(200, b"[1]", tls=asking)
    server.handle_error = lambda *_: None
    with pytest.raises(OSError, match=r"^no proxy answers at .*, or tls\.client_ca does not know the listener's own"):
        ask(config(server, text), "/x")


def test_a_file_without_a_certificate_is_named(serve, config, tmp_path):
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(OSError, match=r"^tls\.cert: .*cert\.pem holds no certificate$"):
        ask(config(serve(), f"tls: {{cert: '{tmp_path}/cert.pem', key: '{tmp_path}/key.pem'}}"), "/x")
