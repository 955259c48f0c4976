from __future__ import annotations

import pytest

from blueprint_proxy.config import explain, load
from blueprint_proxy.config.defaults import BY_KIND


def test_explain_shows_each_value_with_its_origin_and_a_defaults_reason(configure):
    lines = explain(configure("upstreams: {gcs: {deadline: 90s}}"), "gcs").splitlines()
    (deadline,) = (line.split() for line in lines if line.startswith("deadline"))
    (attempts,) = (line for line in lines if line.startswith("retry.attempts"))
    assert deadline[1] == "90s"
    assert deadline[2].endswith("proxy.yaml:1")
    assert "default of kind gcs" in attempts
    assert BY_KIND["gcs"]["retry.attempts"].reason in attempts


def test_explain_of_a_call_merges_the_patterns_that_match(configure):
    config = configure("upstreams: {gcs: {operations: {objects.*: {breaker: {window: 7s}}}}}")
    text = explain(config, "gcs", "GET", "/storage/v1/b/x/o?alt=media", operation="objects.get")
    assert text.startswith("gcs (kind gcs): objects.get GET /storage/v1/b/x/o?alt=media\n")
    assert "breaker.window" in text
    assert "breaker is shared by the operations of objects.*" in text


def test_explain_without_a_call_lists_the_patterns(configure):
    config = configure("upstreams: {gcs: {operations: {objects.*: {deadline: 7s}, other: {}}}}")
    text = explain(config, "gcs")
    assert "operations objects.*\n  deadline  7s" in text


def test_explain_shows_what_a_kind_has_for_one_of_its_operations():
    text = explain(load(None, {}), "geniesim", operation="reset")
    line = next(line for line in text.splitlines() if line.startswith("breaker.age"))
    assert line.split("  ")[0:2] == ["breaker.age", ""] or "5m" in line
    assert "default of kind geniesim for reset" in line
    assert "unsafe" in next(line for line in text.splitlines() if line.startswith("class"))


def test_what_is_set_for_an_upstream_wins_over_what_its_kind_has_for_an_operation(configure):
    config = configure("upstreams: {geniesim: {breaker: {age: 7s}}}")
    assert config.upstreams["geniesim"].for_operation("reset", "", "").breaker.age == 7.0
    line = next(line for line in explain(config, "geniesim", operation="reset").splitlines() if "breaker.age" in line)
    assert "proxy.yaml:1" in line


def test_explain_says_what_becomes_of_the_google_credential():
    assert "google adc: not built yet, the job's own credential passes through" in explain(load(None, {}), "gcs")


def test_explain_of_an_unknown_upstream_is_a_key_error():
    with pytest.raises(KeyError):
        explain(load(None, {}), "nobody")
