from __future__ import annotations

import pytest

from blueprint_proxy.config import ConfigError, Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("drain.grace", "proxy.yaml", 3, "is wrong"), "proxy.yaml:3: drain.grace: is wrong"),
        (Problem("drain.grace", "proxy.yaml", 0, "is wrong"), "proxy.yaml: drain.grace: is wrong"),
        (Problem("", "proxy.yaml", 0, "cannot be read"), "proxy.yaml: cannot be read"),
        (Problem("A_VARIABLE", "environment", 0, "is wrong"), "environment: A_VARIABLE: is wrong"),
    ],
)
def test_a_problem_names_its_place_and_its_key(problem, text):
    assert str(problem) == text


def test_problems_come_in_the_order_of_their_lines():
    late, early, first = (Problem("k", "f", line, f"at {line}") for line in (9, 2, 1))
    error = ConfigError([late, early, first])
    assert error.problems == [first, early, late]
    assert str(error) == "f:1: k: at 1\nf:2: k: at 2\nf:9: k: at 9"


def test_problems_of_one_line_keep_the_order_in_which_they_were_found():
    found = [Problem(key, "f", 1, "is wrong") for key in ("z", "a", "m")]
    assert ConfigError(list(found)).problems == found
