from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("upstreams: {gcs: {timeout: {}}}", "timeouts"),
        ("upstreams: {gcs: {timeouts: {firstbyte: 1s}}}", "first_byte"),
        ("upstreams: {gcs: {operations: {'*': {clas: unsafe}}}}", "class"),
        ("jobs: {token: {envs: X}}", "env"),
        ("upstreams: {gemini: {credential: {headers: x}}}", "header"),
        ("upstream: {}", "upstreams"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(problems, text, near):
    assert f"; the nearest known one is {near}" in problems(text)[0]


def test_a_key_like_no_other_is_answered_with_all_that_are_known(problems):
    assert problems("drain: {zzz: 1}") == ["proxy.yaml:1: drain.zzz: unknown key; known are grace"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("drain: 5", "drain: must be a mapping"),
        ("upstreams: 5", "upstreams: must be a mapping"),
        ("upstreams: {gcs: 5}", "upstreams.gcs: must be a mapping"),
        ("upstreams: {gcs: {retry: {attempts: '3'}}}", "retry.attempts: must be a whole number"),
        ("upstreams: {gcs: {retry: {attempts: true}}}", "retry.attempts: must be a whole number"),
        ("upstreams: {gcs: {retry: {on: 503}}}", "retry.on: must be a list"),
        ("upstreams: {gcs: {mode: of}}", "mode: must be 'enforce', 'observe' or 'off'"),
        ("upstreams: {gcs: {breaker: {failure_ratio: 1.5}}}", "failure_ratio: must be at most 1"),
        ("upstreams: {gcs: {breaker: {failure_ratio: 0}}}", "failure_ratio: must be more than 0"),
        ("upstreams: {gcs: {breaker: {failure_ratio: half}}}", "failure_ratio: must be a number"),
        ("upstreams: {gcs: {kind: htp}}", "kind: must be"),
        ("tls: {cert: /c}", "tls.key: is missing"),
        ("upstreams: {a: {}}", "upstreams.a.url: is missing"),
        ("listen: 8900", "listen: must be a mapping"),
        ("secrets: {order: [vault]}", "secrets.order[0]: must be"),
        ("secret_manager: {insecure: true}", "secret_manager: is insecure without an endpoint"),
        ("secret_manager: {endpoint: 'https://h:1'}", "endpoint: must be HOST:PORT"),
        ("secret_manager: {project: 'a/b'}", "project: must be the id or number"),
        ("jobs: {secrets: [a@0]}", "secrets[0]: must be a secret's id"),
        ("jobs: {secrets: [a@latest]}", "secrets[0]: must be a secret's id"),
        ("jobs: {secrets: [../a]}", "secrets[0]: must be a secret's id"),
    ],
)
def test_what_pydantic_finds_is_said_in_the_words_of_the_file(problems, text, what):
    found = problems(text)
    assert len(found) == 1
    assert what in found[0]
