"""A job beside the sidecar's process, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blueprint_clients import leases, notices, sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.proxy import RunningProxy

    Beside = Callable[[RunningProxy], None]


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    """Make this process a job of the sidecar."""

    def join(running: RunningProxy) -> None:
        admin = running.config["listen"]["admin"]
        monkeypatch.setenv("BLUEPRINT_PROXY", admin if admin.startswith("unix:") else f"http://{admin}")

    for name in ("BLUEPRINT_PROXY_TOKEN", "BLUEPRINT_RUN", "PARTICULATE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    notices.forget()
    yield join
    for known in sidecar._known.values():
        known.close()
    sidecar._known.clear()
    leases._held = None
