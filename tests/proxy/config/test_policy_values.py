from __future__ import annotations

import pytest

from blueprint_proxy.config.defaults import BY_KIND, defaults_of
from blueprint_proxy.config.policy_values import default_values, policy_values, show
from blueprint_proxy.config.upstream_models import OperationFile, PolicyFile


def test_only_the_keys_that_were_set_are_values():
    model = PolicyFile.model_validate({"deadline": "2m", "retry": {"attempts": 4}, "breaker": {}})
    assert dict(policy_values(model)) == {"deadline": 120.0, "retry.attempts": 4}


def test_a_limit_that_was_taken_away_is_a_value_and_one_that_was_not_named_is_none():
    assert dict(policy_values(PolicyFile.model_validate({"deadline": "none"}))) == {"deadline": None}
    assert dict(policy_values(PolicyFile())) == {}


def test_the_class_is_a_value_of_an_operation():
    model = OperationFile.model_validate({"class": "unsafe", "mode": "off"})
    assert dict(policy_values(model)) == {"mode": "off", "class": "unsafe"}


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("deadline", None, "none"),
        ("deadline", 300.0, "5m"),
        ("retry.base", 0.25, "250ms"),
        ("body.memory", 1 << 20, "1MiB"),
        ("retry.on", (503, "reset"), "[503, reset]"),
        ("retry_budget.ratio", 0.2, "0.2"),
        ("retry_budget.min", 10.0, "10"),
        ("retry.attempts", 3, "3"),
        ("mode", "enforce", "enforce"),
    ],
)
def test_a_value_is_shown_as_the_file_would_have_it(key, value, text):
    assert show(key, value) == text


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_a_default_that_is_shown_and_read_again_is_the_same(kind):
    for key, value in default_values(kind).items():
        if isinstance(value, tuple | frozenset) or isinstance(defaults_of(kind)[key].value, int | float):
            continue
        *sections, last = key.split(".")
        tree = {last: show(key, value)}
        for section in reversed(sections):
            tree = {section: tree}
        assert dict(policy_values(PolicyFile.model_validate(tree))) == {key: value}
