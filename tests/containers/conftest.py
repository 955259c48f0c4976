"""Real containers run only where they are asked for (make containers) and can run; elsewhere they say why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import containers

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = "containers"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    real = [item for item in items if item.get_closest_marker(MARKER)]
    if not real:
        return
    asked = config.option.markexpr == MARKER
    why_not = containers.missing() if asked else "real containers take minutes: make containers runs them"
    for item in real:
        item.add_marker(pytest.mark.timeout(900))
        if why_not is not None:
            item.add_marker(pytest.mark.skip(reason=why_not))


@pytest.fixture(scope="session")
def images() -> Iterator[None]:
    """The three images, built from this tree; removed at the end."""
    containers.build_images()
    yield
    containers.remove_images()
