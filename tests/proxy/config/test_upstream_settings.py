from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.config import load
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


def test_a_grpc_upstream_says_what_is_unary_and_how_large_a_message_is(configure):
    text = """
upstreams:
  sim: {kind: grpc, url: 'grpc://h:1', operations: {'a.B/*': {unary: true}}}
  web: {url: 'http://h'}
"""
    sim, web = (configure(text).upstreams[name] for name in ("sim", "web"))
    assert sim.served
    assert sim.for_operation("a.B/c", "POST", "/a.B/c").unary
    other = sim.for_operation("s.T/c", "POST", "/s.T/c")
    assert (other.unary, other.message_limit, other.deadline) == (False, 64 * 1024 * 1024, None)
    assert web.for_operation("GET", "GET", "/").message_limit is None
    assert {item.key: item.value for item in sim.provenance("a.B/c", "POST", "/a.B/c")}["unary"] is True
