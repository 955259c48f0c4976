from __future__ import annotations

import pytest

from blueprint_proxy.config.unbuilt import UNBUILT

EXAMPLES = {
    "grpc": "upstreams: {x: {kind: grpc, url: 'grpc://h'}}",
    "geniesim": "upstreams: {x: {kind: geniesim, url: 'grpc://h'}}",
    "particulate": "upstreams: {x: {kind: particulate, url: 'http://h'}}",
}


VALUES = {"google": "adc", "safe_writes": "true", "journal": "off", "unary": "true", "credential": "{env: X}"}


def example(path: tuple[str, ...], value: str | None) -> str:
    if value is not None:
        return EXAMPLES[value]
    text = VALUES.get(path[-1], "{a: 1}")
    stars = iter(["gcs", "some.*"])
    for step in reversed([next(stars) if step == "*" else step for step in path]):
        text = f"{{{step}: {text}}}"
    return text


@pytest.mark.parametrize("row", UNBUILT, ids=lambda row: ".".join((*row.path, row.value or "")))
def test_a_key_whose_feature_comes_later_is_refused_by_name(problems, row):
    (message,) = problems(example(row.path, row.value))
    assert message.endswith("not built yet")
    assert row.path[0] in message


def test_several_keys_that_come_later_are_each_refused(problems):
    found = problems("journal: {}\nruns: {}\nfleet: {}")
    assert [message.rpartition("proxy.yaml:")[2] for message in found] == [
        "1: journal: not built yet",
        "2: runs: not built yet",
        "3: fleet: not built yet",
    ]


def test_a_built_in_upstream_may_repeat_its_own_kind(configure):
    assert configure("upstreams: {particulate: {kind: particulate}}").upstreams["particulate"].served
