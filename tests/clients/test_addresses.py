from __future__ import annotations

from typing import Any

import pytest

from blueprint_clients.addresses import Addresses, UpstreamAddress, addresses
from support.sidecar import ADDRESSES


def made(http: str = "http://127.0.0.1:8900", **kinds: str) -> Addresses:
    return Addresses(
        http,
        None,
        {name: UpstreamAddress(name, kind, None, credential=False, served=True) for name, kind in kinds.items()},
    )


def test_what_the_sidecar_says_is_read() -> None:
    said = addresses(ADDRESSES)
    assert said.http == "http://127.0.0.1:8900"
    assert said.grpc is None
    assert said.upstreams["gemini"] == UpstreamAddress("gemini", "gemini", "http://127.0.0.1:8900/gemini", True, True)


@pytest.mark.parametrize("said", [{}, {**ADDRESSES, "upstreams": {"x": {}}}, {**ADDRESSES, "upstreams": {"x": None}}])
def test_what_it_would_not_say_is_an_error(said: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        addresses(said)


def test_the_service_that_bears_its_kinds_name_comes_first() -> None:
    found = made(flash="gemini", gemini="gemini").of_kind("gemini")
    assert found is not None
    assert found.name == "gemini"


def test_else_the_first_of_its_kind_is_taken() -> None:
    found = made(gemini="http", flash="gemini", pro="gemini").of_kind("gemini")
    assert found is not None
    assert found.name == "flash"
    assert made().of_kind("gemini") is None


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8900", True),
        ("http://localhost:8900/@run/gemini", True),
        ("http://[::1]:8900/", True),
        ("localhost:8900/gcs", True),
        ("http://127.0.0.1:8901", False),
        ("http://other:8900", False),
        ("https://storage.googleapis.com", False),
        ("http://127.0.0.1:port", False),
        ("", False),
        (None, False),
    ],
)
def test_an_address_is_the_sidecars_whatever_loopback_is_called(url: str | None, here: bool) -> None:
    assert made().is_here(url) is here


def test_a_unix_socket_is_only_itself() -> None:
    assert made("unix:/run/x").is_here("unix:/run/x")
    assert not made("unix:/run/x").is_here("http://127.0.0.1:8900")
