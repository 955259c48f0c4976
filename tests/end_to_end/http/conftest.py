"""One proxy for the whole folder, a fresh upstream for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.stage import PROFILES, UNMOVED, Stage, StagePool

if TYPE_CHECKING:
    from collections.abc import Iterator

TOUCHY = {"min_calls": 10_000, "consecutive": 3, "age": "10m", "open": "200ms", "open_cap": "400ms", "probes": 2}
"""A breaker that three failures open for about a fifth of a second."""

MORE_PROFILES = {
    "limited": {**PROFILES["plain"], "body": {"limit": "1KiB"}},
    "spooling": {**PROFILES["retrying"], "body": {"memory": "64KiB", "spool": "16MiB"}},
    "overflowing": {**PROFILES["retrying"], "body": {"memory": "64KiB", "spool": "256KiB"}},
    "impatient": {**PROFILES["plain"], "timeouts": {"first_byte": "200ms", "idle": "200ms"}},
    "touchy": {"retry": {"attempts": 1}, "breaker": {**TOUCHY, "probe_lease": "30s"}},
    "ageing": {
        "retry": {"attempts": 1},
        "breaker": {**UNMOVED, "age": "300ms", "open": "200ms", "open_cap": "400ms", "probes": 1, "probe_lease": "1s"},
    },
    "observing": {**PROFILES["retrying"], "mode": "observe", "breaker": TOUCHY},
    "off": {**PROFILES["retrying"], "mode": "off", "breaker": TOUCHY},
    "narrow": {**PROFILES["plain"], "concurrency": {"limit": 1, "queue": 1, "queue_timeout": "10s"}},
}
COUNTS = {"plain": 160, "retrying": 50}
"""Unused upstreams of a profile that a proxy begins with, where more than 6 are needed."""


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagePool]:
    stages = StagePool(tmp_path_factory.mktemp("http"), {**PROFILES, **MORE_PROFILES}, COUNTS)
    yield stages
    stages.stop()


def _stage(pool: StagePool, profile: str) -> Iterator[Stage]:
    stage = pool.take(profile)
    yield stage
    stage.close()


@pytest.fixture
def plain(pool: StagePool) -> Iterator[Stage]:
    """An upstream that is tried once."""
    yield from _stage(pool, "plain")


@pytest.fixture
def retrying(pool: StagePool) -> Iterator[Stage]:
    """An upstream that is tried up to three times, a millisecond apart."""
    yield from _stage(pool, "retrying")


@pytest.fixture
def limited(pool: StagePool) -> Iterator[Stage]:
    """An upstream that takes bodies of at most 1 KiB."""
    yield from _stage(pool, "limited")


@pytest.fixture
def spooling(pool: StagePool) -> Iterator[Stage]:
    """`retrying`, with 64 KiB of a body kept in memory and 16 MiB on disk."""
    yield from _stage(pool, "spooling")


@pytest.fixture
def overflowing(pool: StagePool) -> Iterator[Stage]:
    """`retrying`, with 64 KiB of a body kept in memory and 256 KiB on disk."""
    yield from _stage(pool, "overflowing")


@pytest.fixture
def impatient(pool: StagePool) -> Iterator[Stage]:
    """An upstream that is given a fifth of a second for its first byte, and between two."""
    yield from _stage(pool, "impatient")


@pytest.fixture
def touchy(pool: StagePool) -> Iterator[Stage]:
    """An upstream whose breaker opens after three failures, with two probes."""
    yield from _stage(pool, "touchy")


@pytest.fixture
def ageing(pool: StagePool) -> Iterator[Stage]:
    """An upstream whose breaker opens when a call is in flight for 300 ms."""
    yield from _stage(pool, "ageing")


@pytest.fixture
def observing(pool: StagePool) -> Iterator[Stage]:
    """`retrying` and `touchy`, in mode observe."""
    yield from _stage(pool, "observing")


@pytest.fixture
def off(pool: StagePool) -> Iterator[Stage]:
    """`retrying` and `touchy`, in mode off."""
    yield from _stage(pool, "off")


@pytest.fixture
def narrow(pool: StagePool) -> Iterator[Stage]:
    """An upstream that takes one call at a time, and lets one more wait."""
    yield from _stage(pool, "narrow")
