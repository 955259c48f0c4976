from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config import load
from blueprint_proxy.config.defaults import BY_KIND, defaults_of
from blueprint_proxy.config.policy_values import default_values
from blueprint_proxy.config.upstream_settings import REMEMBERED

PATTERNS = """
upstreams:
  gcs:
    deadline: 1m
    operations:
      objects.*: {deadline: 2m, breaker: {window: 7s}}
      objects.get: {retry: {attempts: 9}, class: read_only}
      "GET /upload/*": {deadline: 3m, breaker: {open: 9s}, rate: {per_second: 5}}
"""


@pytest.fixture
def gcs(configure):
    return configure(PATTERNS).upstreams["gcs"]


def test_without_a_matching_pattern_the_upstreams_own_values_hold(gcs):
    settings = gcs.for_operation("buckets.get", "GET", "/storage")
    assert (settings.deadline, settings.retry.attempts, settings.operation_class) == (60, 5, None)


def test_patterns_merge_key_by_key_and_the_most_specific_wins(gcs):
    settings = gcs.for_operation("objects.get", "GET", "/upload/x")
    assert settings.deadline == 180
    assert settings.retry.attempts == 9
    assert (settings.breaker.window, settings.breaker.open) == (7, 9)
    assert settings.operation_class == "read_only"


def test_the_most_specific_pattern_wins_wherever_it_stands_in_the_file(configure):
    text = "upstreams: {gcs: {operations: {'GET /a': {deadline: 1s}, get: {deadline: 2s}, '*': {deadline: 3s}}}}"
    upstream = configure(text).upstreams["gcs"]
    assert upstream.for_operation("get", "GET", "/a").deadline == 1
    assert upstream.for_operation("get", "GET", "/b").deadline == 2
    assert upstream.for_operation("put", "PUT", "/b").deadline == 3


def test_the_pattern_that_sets_a_policy_with_state_owns_it(gcs):
    assert dict(gcs.for_operation("objects.list", "GET", "/o").owners) == {
        "breaker": "objects.*",
        "rate": "",
        "concurrency": "",
        "retry_budget": "",
    }


def test_a_pattern_that_sets_other_keys_owns_nothing(gcs):
    assert gcs.for_operation("objects.get", "GET", "/o").owners["concurrency"] == ""


def test_where_several_patterns_set_a_policy_the_owner_names_them_all(gcs):
    assert gcs.for_operation("objects.list", "GET", "/upload/x").owners["breaker"] == "objects.* + GET /upload/*"
    assert gcs.for_operation("buckets.get", "GET", "/upload/x").owners["breaker"] == "GET /upload/*"


def test_operations_of_one_owner_have_equal_settings_of_it(gcs):
    found = [
        gcs.for_operation(name, method, path)
        for name in ("objects.get", "objects.list", "buckets.get")
        for method in ("GET", "POST")
        for path in ("/upload/x", "/o")
    ]
    for policy in ("breaker", "rate", "concurrency", "retry_budget"):
        by_owner: dict[str, object] = {}
        for settings in found:
            assert by_owner.setdefault(settings.owners[policy], getattr(settings, policy)) == getattr(settings, policy)


def test_equal_matches_share_one_settings_object(gcs):
    assert gcs.for_operation("a", "GET", "/1") is gcs.for_operation("b", "GET", "/2")


def test_lookups_are_remembered_with_a_bound(gcs):
    for number in range(REMEMBERED * 2):
        gcs.for_operation("objects.get", "GET", f"/upload/{number}")
    assert len(gcs._by_lookup) <= REMEMBERED
    assert len(gcs._by_rules) == 1


def test_a_long_path_is_matched_and_not_remembered(gcs):
    assert gcs.for_operation("x", "GET", "/upload/" + "x" * 5000).deadline == 180
    assert not gcs._by_lookup


def test_paths_count_only_where_a_pattern_asks_for_them(configure):
    upstream = configure("upstreams: {gcs: {operations: {a: {mode: off}}}}").upstreams["gcs"]
    for number in range(100):
        upstream.for_operation("a", "GET", f"/{number}")
    assert not upstream.has_path_patterns
    assert len(upstream._by_lookup) == 1
    assert upstream.for_operation("a", "GET", "/").mode == "off"


def test_a_limit_can_be_taken_away_with_the_word_none(configure):
    text = "upstreams: {gemini: {deadline: none, timeouts: {first_byte: none}, rate: {per_second: none}}}"
    settings = configure(text).upstreams["gemini"].for_operation("x", "GET", "/")
    assert (settings.deadline, settings.timeouts.first_byte, settings.rate.per_second) == (None, None, None)


def test_settings_are_frozen(gcs):
    settings = gcs.for_operation("x", "GET", "/")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.deadline = 1


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


def test_the_provenance_of_a_value_is_its_line_or_its_kind(gcs):
    found = {item.key: item for item in gcs.provenance("objects.get", "GET", "/upload/x")}
    assert found["deadline"].origin.endswith("proxy.yaml:8")
    assert found["retry.attempts"].origin.endswith("proxy.yaml:7")
    assert found["timeouts.idle"].origin == "default of kind gcs"
    assert found["timeouts.idle"].reason
    assert found["class"].value == "read_only"


@given(
    st.sampled_from(["objects.get", "objects.list", "buckets.get", "x"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/upload/a", "/o", "/"]),
)
def test_provenance_and_settings_tell_of_the_same_values(name, method, path):
    upstream = load(None, {}).upstreams["gcs"]
    settings = upstream.for_operation(name, method, path)
    found = {item.key: item.value for item in upstream.provenance(name, method, path)}
    assert found["deadline"] == settings.deadline
    assert found["retry.attempts"] == settings.retry.attempts
    assert frozenset(found["retry.on"]) == settings.retry.on
    assert found["breaker.open"] == settings.breaker.open
