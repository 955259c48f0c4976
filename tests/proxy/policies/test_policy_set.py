"""The policies that one call meets."""

from dataclasses import FrozenInstanceError

import pytest

from support.scripted_upstream import policies


def test_a_policy_set_enforces_unless_it_is_told_to_observe():
    assert policies().observing is False


def test_nobody_swaps_a_policy_under_a_call():
    with pytest.raises(FrozenInstanceError):
        policies().breaker = None
