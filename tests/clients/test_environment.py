from __future__ import annotations

import pytest

from blueprint_clients.environment import environment, run_named, with_variables


def test_without_variables_the_sidecar_is_at_its_default_address() -> None:
    job = environment({})
    assert job.proxy == "http://127.0.0.1:8901"
    assert job.token is job.run is job.job_name is job.scene_id is job.bucket is None
    assert job.gemini_key is job.gemini_address is job.storage_address is None
    assert job.particulate_address is job.geniesim_address is None


@pytest.mark.parametrize("off", ["off", "OFF", "Off"])
def test_off_means_no_sidecar(off: str) -> None:
    assert environment({"BLUEPRINT_PROXY": off}).proxy is None


def test_an_empty_variable_counts_as_not_set() -> None:
    job = environment({"BLUEPRINT_PROXY": "", "BLUEPRINT_PROXY_TOKEN": "", "BLUEPRINT_RUN": "", "SCENE_ID": ""})
    assert job == environment({})


def test_a_token_read_from_a_file_may_end_with_its_line() -> None:
    assert environment({"BLUEPRINT_PROXY_TOKEN": "t\n"}).token == "t"


def test_the_sdks_own_order_of_keys_is_kept() -> None:
    assert environment({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}).gemini_key == "b"
    assert environment({"GEMINI_API_KEY": "a"}).gemini_key == "a"


def test_half_an_address_of_the_simulator_is_completed() -> None:
    assert environment({"GENIESIM_HOST": "sim"}).geniesim_address == "sim:50051"
    assert environment({"GENIESIM_PORT": "1"}).geniesim_address == "localhost:1"


def test_no_key_and_no_token_is_shown() -> None:
    shown = repr(environment({"BLUEPRINT_PROXY_TOKEN": "hush", "GEMINI_API_KEY": "hush"}))
    assert "hush" not in shown


def test_the_run_is_read_when_it_is_asked_for(job: pytest.MonkeyPatch) -> None:
    assert run_named() is None
    job.setenv("BLUEPRINT_RUN", "r")
    assert run_named() == "r"


def test_a_childs_variables_are_the_processs_own_and_the_added(job: pytest.MonkeyPatch) -> None:
    job.setenv("BUCKET", "b")
    child = with_variables({"BLUEPRINT_RUN": "r"})
    assert child["BUCKET"] == "b"
    assert child["BLUEPRINT_RUN"] == "r"
    assert run_named() is None
