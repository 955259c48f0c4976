"""Upstreams as the application builds them, from a configuration's text."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from blueprint_proxy.config import load
from blueprint_proxy.secrets.store import SecretStore
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
    """`built("kind: gcs")`, inside a running loop: the upstream `it` with these keys."""

    def build_it(
        keys: str, earlier: Upstream | None = None, *, url: str = "http://127.0.0.1:1", **environ: str
    ) -> Upstream:
        file = tmp_path / "proxy.yaml"
        given = ", ".join(filter(None, (f"url: '{url}'", keys)))
        file.write_text(f"upstreams:\n  it: {{{given}}}\n")
        found = load(file, environ).upstreams["it"]
        around = Surroundings(
            telemetry=heard.telemetry,
            sweep=Sweep(asyncio.get_running_loop()),
            spool=tmp_path,
            secrets=SecretStore(
                emit=heard.telemetry.emit, now=lambda: 0.0, chance=lambda: 0.0, on_secret=lambda _: None
            ),
        )
        return build(found, around, earlier)

    return build_it
