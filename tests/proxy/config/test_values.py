from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("upstreams: {gcs: {retry: {on: [503, 200]}}}", "retry.on[1]: must be a status"),
        ("upstreams: {gcs: {retry: {on: [later]}}}", "retry.on[0]: must be a status"),
        ("upstreams: {gcs: {timeouts: {connect: none}}}", "connect: must be a duration"),
        ("upstreams: {gcs: {timeouts: {idle: 0s}}}", "idle: must be more than zero"),
        ("upstreams: {gcs: {body: {memory: 1MB5}}}", "memory: must be a size"),
        ("upstreams: {gcs: {rate: {per_second: 0}}}", "per_second: must be a number above 0"),
        ("upstreams: {gcs: {concurrency: {limit: 0}}}", "limit: must be a whole number of at least 1"),
        ("state_dir: 5", "state_dir: must be a path"),
        ("listen: {http: 8900}", "listen.http: must be HOST:PORT"),
        ("upstreams: {gemini: {credential: {env: A, header: 'host: {}'}}}", "must not be a header of the connection"),
        ("upstreams: {gemini: {credential: {env: A, header: 'x: {} {}'}}}", "must be a header line with one {}"),
    ],
)
def test_a_value_of_no_meaning_is_refused_in_words(problems, text, what):
    found = problems(text)
    assert len(found) == 1
    assert what in found[0]


def test_a_limit_can_be_taken_away_with_the_word_none(configure):
    text = "upstreams: {gemini: {deadline: none, timeouts: {first_byte: none}, rate: {per_second: none}}}"
    settings = configure(text).upstreams["gemini"].for_operation("x", "GET", "/")
    assert (settings.deadline, settings.timeouts.first_byte, settings.rate.per_second) == (None, None, None)
