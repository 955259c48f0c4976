from __future__ import annotations

import pytest

from blueprint_proxy.config import load
from blueprint_proxy.config.defaults import BY_KIND, defaults_of
from blueprint_proxy.config.policy_values import default_values


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_every_default_of_every_kind_has_a_reason_and_is_a_value_the_file_could_hold(kind):
    values = default_values(kind)
    assert values.keys() == defaults_of(kind).keys()
    assert all(default.reason for default in defaults_of(kind).values())


def test_a_default_of_one_kind_does_not_leak_into_another():
    upstreams = load(None, {}).upstreams
    assert upstreams["gcs"].for_operation("x", "GET", "/").deadline is None
    assert upstreams["gemini"].for_operation("x", "GET", "/").deadline == 600
    assert upstreams["particulate"].for_operation("x", "GET", "/").deadline == 300


@pytest.mark.parametrize("kind", ["http", "gcs", "gemini", "particulate"])
def test_a_hang_opens_the_breaker_before_its_calls_time_out(kind):
    values = default_values(kind)
    assert values["breaker.age"] < values["timeouts.first_byte"]
