from __future__ import annotations

import pytest

from blueprint_clients import external_services
from blueprint_clients.external_services import (
    ServiceClient,
    create_gcs_client,
    create_gemini_client,
    create_genie_sim_client,
    create_particulate_client,
)
from support.sidecar import ADDRESSES, UPSTREAMS, Said, ScriptedSidecar


def test_every_name_of_the_guide_is_there() -> None:
    assert {
        "ServiceClient", "ServiceClientConfig", "RateLimiter", "create_gemini_client", "create_genie_sim_client",
        "create_gcs_client", "create_particulate_client",
    } <= set(external_services.__all__)  # fmt: skip


@pytest.mark.parametrize(
    ("factory", "service", "upstream", "timeout"),
    [
        (create_gemini_client, "gemini_api", "gemini", 600.0),
        (create_genie_sim_client, "genie_sim_api", "geniesim", 300.0),
        (create_gcs_client, "gcs", "gcs", None),
        (create_particulate_client, "particulate", "particulate", 300.0),
    ],
)
def test_each_factory_guards_its_service(
    scripted: ScriptedSidecar, factory: type, service: str, upstream: str, timeout: float | None
) -> None:
    client = factory()
    assert isinstance(client, ServiceClient)
    assert client.config.service_name == client.get_stats()["service_name"] == service
    assert client.config.default_timeout == timeout
    assert client.call(func=lambda: 1, timeout=15.0) == 1
    (permit,) = scripted.of("POST", f"/v1/guard/{upstream}")
    assert 14 < permit.body["timeout_s"] <= 15


@pytest.mark.parametrize(
    "factory", [create_gemini_client, create_genie_sim_client, create_gcs_client, create_particulate_client]
)
def test_making_a_client_needs_no_sidecar_and_asks_none(scripted: ScriptedSidecar, factory: type) -> None:
    factory()
    assert scripted.asked == []


def test_a_service_of_another_name_is_found_by_its_kind(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "upstreams": {"parts": UPSTREAMS["particulate"]}}))
    create_particulate_client().call(lambda: 1)
    assert scripted.of("POST", "/v1/guard/parts")


def test_one_of_several_is_chosen_by_name(scripted: ScriptedSidecar) -> None:
    create_gemini_client("flash").call(lambda: 1)
    assert scripted.of("POST", "/v1/guard/flash")
