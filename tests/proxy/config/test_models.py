from __future__ import annotations

from pathlib import Path

import pytest

from blueprint_proxy.config import load


def test_without_a_file_the_listeners_are_those_of_the_contract():
    config = load(None, {})
    assert [str(config.listen.http), str(config.listen.grpc), str(config.listen.admin)] == [
        "127.0.0.1:8900",
        "127.0.0.1:50052",
        "127.0.0.1:8901",
    ]
    assert config.drain.grace == 30
    assert config.state_dir == Path("~/.local/state/blueprint-proxy").expanduser()
    assert config.source is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("jobs: {token: {}}", "jobs.token: must have exactly one of env and file"),
        ("jobs: {token: {env: A, file: /b}}", "jobs.token: must have exactly one of env and file"),
    ],
)
def test_a_token_stands_in_exactly_one_place(problems, text, what):
    found = problems(text)
    assert len(found) == 1
    assert what in found[0]
