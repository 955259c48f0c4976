"""A configuration from text, as `load` sees it: a file in a folder of its own and an environment of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blueprint_proxy.config import ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blueprint_proxy.config import Config


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    def configured(text: str, **environ: str) -> Config:
        file = tmp_path / "proxy.yaml"
        file.write_text(text)
        return load(file, environ)

    return configured


@pytest.fixture
def problems(configure: Callable[..., Config], tmp_path: Path) -> Callable[..., list[str]]:
    """What is wrong with the text, one line each, with the file's folder cut off."""

    def found(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as error:
            configure(text, **environ)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in error.value.problems]

    return found
