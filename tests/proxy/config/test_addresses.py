from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config.addresses import parse_address, parse_url, reaches


@pytest.mark.parametrize("text", ["127.0.0.1:8900", "[::1]:8900", "localhost:0", "unix:/run/proxy.sock"])
def test_an_address_is_written_as_it_was_read(text):
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "8900", ":8900", "host", "host:", "host:65536", "::1:8900", "[1.2.3.4]:1", "unix:", "unix:a", "a b:1", 5],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        parse_address(text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1", "unix:/a"]
)
def test_loopback_and_unix_sockets_are_private(text):
    assert parse_address(text).is_private


@pytest.mark.parametrize(
    "text", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "proxy.internal:1", "128.0.0.1:1", "localhost.evil:1"]
)
def test_every_other_address_is_not_private(text):
    assert not parse_address(text).is_private


def test_a_url_is_parsed_into_its_parts():
    url = parse_url("https://Example.org:8443/base/path/")
    assert (url.scheme, url.host, url.port, url.base_path) == ("https", "example.org", 8443, "/base/path")
    assert url.authority == "example.org:8443"
    assert url.is_tls


def test_a_default_port_is_not_part_of_the_authority():
    assert parse_url("https://example.org:443").authority == "example.org"
    assert parse_url("http://example.org").port == 80


def test_an_ipv6_host_has_brackets_in_the_authority_only():
    url = parse_url("http://[::1]:9000")
    assert (url.host, url.authority) == ("::1", "[::1]:9000")


def test_a_unix_url_names_a_socket():
    url = parse_url("unix:/run/service.sock")
    assert (url.unix, url.authority, url.base_path) == ("/run/service.sock", "localhost", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "ftp://example.org",
        "http://",
        "http:///path",
        "http://host:port",
        "http://host:0",
        "http://host:99999",
        "http://user:pass@host",
        "http://host?x=1",
        "http://host/#f",
        "http://host/a/../b",
        "http://host/%2E%2e/b",
        "http://host/a b",
        "http://ho\nst/",
        " http://host",
        "http://host/ä",
        "http://[::1%eth0]/",
        "http://ho\\st/",
        "unix:relative",
        "unix:/" + "x" * 200,
        7,
    ],
)
def test_what_is_no_plain_url_is_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match=r"^(must|is|has)") as error:
        parse_url(text)
    assert "pass" not in str(error.value).replace("password", "")


@pytest.mark.parametrize(
    ("url", "listener"),
    [
        ("http://localhost:8900", "127.0.0.1:8900"),
        ("http://127.0.0.1:8900/x", "localhost:8900"),
        ("http://[::1]:8900", "127.0.0.1:8900"),
        ("http://0.0.0.0:8900", "127.0.0.1:8900"),
        ("http://127.0.0.1:8900", "0.0.0.0:8900"),
        ("http://127.1:8900", "127.0.0.1:8900"),
        ("http://2130706433:8900", "127.0.0.1:8900"),
        ("http://localhost.:8900", "127.0.0.1:8900"),
        ("http://LOCALHOST:8900", "127.0.0.1:8900"),
        ("http://[::ffff:127.0.0.1]:8900", "127.0.0.1:8900"),
        ("http://10.0.0.1:8900", "10.0.0.1:8900"),
        ("http://localhost", "127.0.0.1:80"),
        ("unix:/run/a", "unix:/run/a"),
    ],
)
def test_a_url_of_a_listener_is_recognised_however_it_is_spelt(url, listener):
    assert reaches(parse_url(url), parse_address(listener))


@pytest.mark.parametrize(
    ("url", "listener"),
    [
        ("http://localhost:8901", "127.0.0.1:8900"),
        ("http://example.org:8900", "127.0.0.1:8900"),
        ("unix:/run/a", "unix:/run/b"),
        ("unix:/run/a", "127.0.0.1:8900"),
        ("http://localhost:8900", "unix:/run/a"),
    ],
)
def test_another_url_is_no_loop(url, listener):
    assert not reaches(parse_url(url), parse_address(listener))


@given(st.text())
def test_any_text_is_a_url_or_a_value_error(text):
    for candidate in (text, f"http://{text}", f"unix:/{text}"):
        try:
            parse_url(candidate)
        except ValueError:
            continue


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text):
    for candidate in (text, f"{text}:80", f"unix:/{text}"):
        try:
            parse_address(candidate)
        except ValueError:
            continue
