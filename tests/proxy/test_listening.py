from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat

import pytest

from blueprint_proxy.config import Address, ListenerTls
from blueprint_proxy.listening import ListeningSocket, authorities, tls_context
from support.tls import make_certificates


def unix(path):
    return Address("", 0, str(path))


def refused(address):
    with pytest.raises(OSError, match=f"^the http listener cannot bind {address}: ") as caught:
        ListeningSocket(address, "the http listener")
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_it_listens_at_once_and_knows_its_real_port(host):
    with ListeningSocket(Address(host, 0), "the http listener") as listening:
        assert listening.address.port
        socket.create_connection((listening.address.host, listening.address.port)).close()


def test_the_port_is_free_again_after_the_end():
    with ListeningSocket(Address("127.0.0.1", 0), "the http listener") as listening:
        address = listening.address
    with ListeningSocket(address, "the http listener"):
        pass


def test_a_taken_port_is_an_error_that_names_listener_and_address():
    with ListeningSocket(Address("127.0.0.1", 0), "another") as other:
        assert refused(other.address).endswith(": Address already in use")


def test_a_host_that_is_not_ours_is_an_error():
    assert "the http listener cannot bind" in refused(Address("192.0.2.1", 1))


def test_a_unix_socket_is_for_this_user_alone_and_gone_afterwards(tmp_path):
    path = tmp_path / "s"
    before = os.umask(0o022)
    try:
        with ListeningSocket(unix(path), "the http listener"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert not path.exists()


def test_a_socket_file_that_nobody_serves_is_replaced(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with ListeningSocket(unix(path), "the http listener"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_file_that_somebody_serves_is_left_alone(tmp_path):
    path = tmp_path / "s"
    with ListeningSocket(unix(path), "the http listener") as other:
        assert refused(other.address).endswith("another process serves this socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_served_socket_whose_queue_is_full_is_left_alone(tmp_path):
    path = tmp_path / "s"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        assert refused(unix(path)).endswith("another process serves this socket")
        assert path.exists()


@pytest.mark.parametrize("make", ["file", "folder", "link"])
def test_a_file_that_is_no_socket_is_left_alone(tmp_path, make):
    path = tmp_path / "s"
    if make == "file":
        path.write_text("precious")
    elif make == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert refused(unix(path)).endswith("a file that is no socket is there")
    assert os.path.lexists(path)


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    assert refused(unix(tmp_path / "no" / "s")).endswith("No such file or directory")


def test_a_file_that_somebody_else_has_put_there_since_is_not_removed(tmp_path):
    path = tmp_path / "s"
    with ListeningSocket(unix(path), "the http listener"):
        path.rename(tmp_path / "moved")
        path.write_text("of somebody else")
    assert path.exists()


def test_a_second_close_does_nothing(tmp_path):
    listening = ListeningSocket(unix(tmp_path / "s"), "the http listener")
    listening.close()
    (tmp_path / "s").write_text("of somebody else")
    listening.close()
    assert (tmp_path / "s").exists()


def test_a_listener_goes_by_its_address_and_the_names_of_this_host():
    names = authorities(Address("10.1.2.3", 8900))
    assert {b"10.1.2.3:8900", b"localhost:8900", b"127.0.0.1:8900", b"[::1]:8900"} < names
    assert all(name == name.lower() for name in names)


def test_a_unix_socket_has_no_authority_and_no_tls(tmp_path):
    with ListeningSocket(unix(tmp_path / "s"), "the http listener") as listening:
        assert authorities(listening.address) == frozenset()
        assert listening.tls(ssl.create_default_context()) is None


def test_an_address_has_the_tls_of_the_listeners():
    context = ssl.create_default_context()
    with ListeningSocket(Address("127.0.0.1", 0), "the http listener") as listening:
        assert listening.tls(context) is context
        assert listening.tls(None) is None


def files_of(folder):
    """A server's certificate and key as PEM files, and the authority's."""
    made = make_certificates(folder)
    return ListenerTls(made.client_cert, made.client_key, made.ca)


def test_a_client_certificate_is_asked_for_where_an_authority_is_named(tmp_path):
    files = files_of(tmp_path)
    assert tls_context(files).verify_mode is ssl.CERT_REQUIRED
    assert tls_context(ListenerTls(files.cert, files.key, None)).verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("missing", ["cert", "key", "client_ca"])
def test_tls_files_that_cannot_be_used_are_named(tmp_path, missing):
    made = files_of(tmp_path)
    names = {"cert": made.cert, "key": made.key, "client_ca": made.client_ca, missing: tmp_path / "missing.pem"}
    with pytest.raises(OSError, match=r"^tls: .*missing\.pem.*: No such file or directory$"):
        tls_context(ListenerTls(**names))
