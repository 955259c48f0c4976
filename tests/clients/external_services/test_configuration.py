from __future__ import annotations

import pytest

from blueprint_clients.external_services.configuration import SIDECARS_OWN, ServiceClientConfig, checked_timeout


def test_the_guides_names_are_known_at_the_sidecar_by_its_own() -> None:
    assert ServiceClientConfig("gemini_api").at_the_sidecar == "gemini"
    assert ServiceClientConfig("genie_sim_api").at_the_sidecar == "geniesim"
    assert ServiceClientConfig("gcs").at_the_sidecar == "gcs"
    assert ServiceClientConfig("gemini_api", upstream="flash").at_the_sidecar == "flash"


@pytest.mark.parametrize("name", sorted(SIDECARS_OWN))
def test_a_setting_that_is_the_sidecars_is_taken_and_said_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        ServiceClientConfig("gemini_api", **{name: 3})  # type: ignore[arg-type]
    (record,) = caplog.records
    assert f"upstreams.gemini.{SIDECARS_OWN[name]}" in record.getMessage()


def test_the_defaults_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    ServiceClientConfig("gemini_api", default_timeout=None, rate_limit_enabled=True)
    assert caplog.records == []


def test_a_service_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        ServiceClientConfig("")


@pytest.mark.parametrize("timeout", [0, 0.0, -1, float("inf"), float("nan")])
def test_a_timeout_is_greater_than_nothing_and_finite(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        checked_timeout(timeout)
    with pytest.raises(ValueError, match="timeout"):
        ServiceClientConfig("x", default_timeout=timeout)


@pytest.mark.parametrize("timeout", [True, "30"])
def test_a_timeout_is_a_number(timeout: object) -> None:
    with pytest.raises(TypeError):
        checked_timeout(timeout)  # type: ignore[arg-type]


def test_a_timeout_is_given_back_in_seconds() -> None:
    assert checked_timeout(15) == 15.0
