"""What the tests of the stand-ins need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.genie_sim.process import simulators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.genie_sim.process import StartGenieSim


@pytest.fixture
def genie_sim(tmp_path: Path) -> Iterator[StartGenieSim]:
    """Starts simulators of the test's own, each a process; all are gone at the test's end."""
    with simulators(tmp_path) as start:
        yield start
