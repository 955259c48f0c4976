"""A guard over one upstream, whose policies the test chooses."""

from __future__ import annotations

import pytest

from support.guard_stage import Staged


@pytest.fixture
def stage() -> type[Staged]:
    return Staged
