from __future__ import annotations

import pytest


def test_the_word_none_takes_a_credential_away(configure):
    upstream = configure("upstreams: {gemini: {credential: none}}").upstreams["gemini"]
    assert upstream.credential is None
    assert upstream.origins["credential"].endswith("proxy.yaml:1")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("upstreams: {gcs: {tls: {key: /k}}}", "tls: has a key without a cert"),
        ("upstreams: {gcs: {operations: {'': {}}}}", "operations: has a pattern that is empty"),
        ("upstreams: {gemini: {credential: {}}}", "credential: names no place"),
    ],
)
def test_parts_that_make_no_whole_are_refused(problems, text, what):
    found = problems(text)
    assert len(found) == 1
    assert what in found[0]
