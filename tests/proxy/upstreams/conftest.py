"""Upstreams as the application builds them, from a configuration's text."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from blueprint_proxy.config import load
from blueprint_proxy.sweep import Sweep
from blueprint_proxy.upstreams.building import Surroundings, build
from support.scripted_upstream import Heard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blueprint_proxy.upstreams.upstream import Upstream


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def built(tmp_path: Path, heard: Heard) -> Callable[..., Upstream]:
    """`built("{kind: gcs, url: ...}")`, inside a running loop: the upstream `it` of such a configuration."""

    def build_it(text: str, earlier: Upstream | None = None, **environ: str) -> Upstream:
        file = tmp_path / "proxy.yaml"
        file.write_text(f"upstreams:\n  it: {text}\n")
        found = load(file, environ).upstreams["it"]
        around = Surroundings(heard.telemetry, Sweep(asyncio.get_running_loop()), b"proxy", tmp_path, lambda _: None)
        return build(found, around, earlier)

    return build_it
