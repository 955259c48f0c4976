from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from blueprint_clients.errors import ConfigurationError
from blueprint_clients.wire import HEAD_LIMIT, Address, BadAnswer, Connection, NothingAnswered, address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        one.settimeout(10)
        yield one


class Pair:
    """A connection, and a server's end of it that sends what it is told."""

    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()
        self.connection = Connection(Address(host, port), 5)
        self.server, _ = listener.accept()

    def close(self) -> None:
        self.connection.close()
        self.server.close()


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[Pair]:
    one = Pair(listener)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:8901", Address("127.0.0.1", 8901)),
        ("http://127.0.0.1:8901/", Address("127.0.0.1", 8901)),
        ("http://[::1]:8901", Address("::1", 8901)),
        ("http://host", Address("host", 80)),
        ("https://host", Address("host", 443, tls=True)),
        ("unix:/run/admin.sock", Address("", 0, "/run/admin.sock")),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:8901", "ftp://x:1", "http://", "http://x:y", "http://x:0", "http://x:1/path", "http://u@x:1",
     "unix:relative", "unix:", "grpc://x:1", "http://x:1?q"],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="BLUEPRINT_PROXY must be"):
        address_of(text)


def test_the_authority_is_what_host_takes() -> None:
    assert Address("::1", 1).authority == "[::1]:1"
    assert Address("a", 1).authority == "a:1"
    assert Address("", 0, "/x").authority == "localhost"


def test_an_answer_with_a_length_is_read_and_the_connection_serves_another(pair: Pair) -> None:
    for body in (b"one", b""):
        pair.server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: \t b \r\n\r\n%s" % (len(body), body))
        answer = pair.connection.exchange(REQUEST, 5)
        assert (answer.status, answer.body, answer.headers["x-a"]) == (200, body, "b")
        assert pair.server.recv(1000) == REQUEST
        assert pair.connection.is_sound()


def test_an_answer_in_chunks_is_read(pair: Pair) -> None:
    pair.server.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\na: b\r\n\r\n"
    )
    assert pair.connection.exchange(REQUEST, 5).body == b"abcde"
    assert pair.connection.is_sound()


def test_an_answer_that_comes_byte_by_byte_is_read(pair: Pair) -> None:
    def drip() -> None:
        for byte in b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nhi":
            pair.server.sendall(bytes([byte]))

    pair.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    thread = threading.Thread(target=drip)
    thread.start()
    assert pair.connection.exchange(REQUEST, 5) == (201, {"content-length": "2"}, b"hi")
    thread.join(10)


def test_an_answer_without_content_needs_no_length(pair: Pair) -> None:
    pair.server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert pair.connection.exchange(REQUEST, 5).body == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nbody until the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (HEAD_LIMIT + 10),
    ],
)
def test_what_is_no_answer_of_a_sidecar_is_refused(pair: Pair, answer: bytes) -> None:
    thread = threading.Thread(target=pair.server.sendall, args=(answer,))
    thread.start()
    with pytest.raises(BadAnswer):
        pair.connection.exchange(REQUEST, 5)
    thread.join(10)


def test_an_end_before_the_answer_is_told_from_one_within_it(pair: Pair, listener: socket.socket) -> None:
    pair.server.close()
    with pytest.raises(NothingAnswered):
        pair.connection.exchange(REQUEST, 5)
    for part in (b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"):
        other = Pair(listener)
        other.server.sendall(part)
        other.server.shutdown(socket.SHUT_WR)
        with pytest.raises(BadAnswer) as raised:
            other.connection.exchange(REQUEST, 5)
        assert not isinstance(raised.value, NothingAnswered)
        other.close()


def test_a_silent_server_is_not_waited_for_beyond_the_patience(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        pair.connection.exchange(REQUEST, 0.01)


def test_a_connection_that_was_closed_or_spoken_to_while_idle_is_not_sound(pair: Pair, listener: socket.socket) -> None:
    assert pair.connection.is_sound()
    pair.server.sendall(b"HTTP/1.1 408 Timeout\r\n\r\n")
    poll_until_unsound(pair.connection)
    other = Pair(listener)
    other.server.close()
    poll_until_unsound(other.connection)
    other.close()


def poll_until_unsound(connection: Connection) -> None:
    connection._sock.settimeout(5)
    connection._sock.recv(1, socket.MSG_PEEK)  # comes back when there is something, or the end
    assert not connection.is_sound()


def test_what_came_too_much_makes_a_connection_unsound(pair: Pair) -> None:
    pair.server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n")
    pair.connection.exchange(REQUEST, 5)
    assert not pair.connection.is_sound()


def test_closing_wakes_a_thread_that_reads(pair: Pair) -> None:
    ended: list[type[BaseException]] = []

    def read() -> None:
        try:
            pair.connection.head()
        except (BadAnswer, OSError) as error:
            ended.append(type(error))

    pair.connection.begin(REQUEST, 10)
    thread = threading.Thread(target=read)
    thread.start()
    pair.connection.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(ended) == 1


def test_a_forked_childs_end_closes_without_ending_the_parents(pair: Pair) -> None:
    other = socket.socket(fileno=socket.dup(pair.connection._sock.fileno()))
    pair.connection.after_fork_in_child()
    other.sendall(b"x")
    assert pair.server.recv(1) == b"x"
    other.close()


def test_nobody_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="refused"):
        Connection(Address("127.0.0.1", 1), 5)
    with pytest.raises(OSError, match="No such file"):
        Connection(Address("", 0, "/nowhere/x.sock"), 5)


def test_a_certificate_that_nobody_vouches_for_is_refused(listener: socket.socket) -> None:
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def accept() -> None:
        accepted, _ = listener.accept()
        try:
            context.wrap_socket(accepted, server_side=True).close()
        except OSError:
            accepted.close()

    thread = threading.Thread(target=accept)
    thread.start()
    with pytest.raises(ssl.SSLError):
        Connection(Address(*listener.getsockname(), tls=True), 5)
    thread.join(10)
