from __future__ import annotations

import pytest

from blueprint_clients.errors import ConfigurationError, UnknownUpstream
from blueprint_clients.external_services.pointing import fields, present, upstream_of, url_of
from blueprint_clients.sidecar import Sidecar, sidecar_of
from support.sidecar import ADDRESSES, Said, ScriptedSidecar


def here() -> Sidecar:
    one = sidecar_of()
    assert one is not None
    return one


def test_a_service_is_found_by_kind_or_by_name(scripted: ScriptedSidecar) -> None:
    assert upstream_of(here(), "gemini", None).name == "gemini"
    assert upstream_of(here(), "gemini", "particulate").kind == "particulate"


def test_a_service_that_is_not_there_or_not_served_says_so(scripted: ScriptedSidecar) -> None:
    with pytest.raises(UnknownUpstream, match="kind http"):
        upstream_of(here(), "http", None)
    with pytest.raises(UnknownUpstream, match="'flash'"):
        upstream_of(here(), "gemini", "flash")
    with pytest.raises(UnknownUpstream, match="does not serve geniesim"):
        upstream_of(here(), "geniesim", None)


def test_the_address_bears_the_run(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    gemini = upstream_of(here(), "gemini", None)
    assert url_of(here(), gemini) == "http://127.0.0.1:8900/gemini"
    job.setenv("BLUEPRINT_RUN", "abc")
    assert url_of(here(), gemini) == "http://127.0.0.1:8900/@abc/gemini"
    assert url_of(here(), gemini, with_run=False) == "http://127.0.0.1:8900/gemini"


def test_a_unix_data_listener_cannot_be_given_to_an_sdk(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "http": "unix:/run/x"}))
    with pytest.raises(ConfigurationError, match="TCP"):
        url_of(here(), upstream_of(here(), "gemini", None))


def test_without_a_sidecar_nothing_is_present_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert present("gemini", None) is None
    assert "no sidecar" in caplog.text


def test_switched_off_nothing_is_present(job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_PROXY", "off")
    assert present("gemini", None) is None


def test_the_jobs_token_goes_along(job: pytest.MonkeyPatch) -> None:
    assert fields() == {}
    job.setenv("BLUEPRINT_PROXY_TOKEN", "t")
    assert fields() == {"x-blueprint-token": "t"}
