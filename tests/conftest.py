"""Fixtures for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.proxy import RunningProxy
from support.raw_upstream import RawUpstream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from support.proxy import StartProxy
    from support.raw_upstream import StartUpstream


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Starts a proxy of the test's own; at the end it must exit 0 on SIGTERM, without a traceback in its log."""
    started: list[RunningProxy] = []

    def start(config: dict[str, Any], env: dict[str, str] | None = None) -> RunningProxy:
        started.append(RunningProxy(tmp_path / f"proxy-{len(started)}", config, env))
        return started[-1]

    yield start
    try:
        for one in started:
            one.stop()
    finally:
        for one in started:
            one.kill()


@pytest.fixture
def upstream() -> Iterator[StartUpstream]:
    """Starts a scripted upstream; what its scripts raised fails the test."""
    started: list[RawUpstream] = []

    def start(*, unix: Path | None = None, tls: ssl.SSLContext | None = None) -> RawUpstream:
        started.append(RawUpstream(unix=unix, tls=tls))
        return started[-1]

    yield start
    for one in started:
        one.stop()
    for one in started:
        assert not one.failures, f"the upstream's script failed: {one.failures!r}"
