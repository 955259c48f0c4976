"""An event of any type, for tests that must cover them all."""

from __future__ import annotations

import dataclasses
from typing import Any

from blueprint_proxy.telemetry import events

SAMPLES = {
    "str": "word", "int": 1, "float": 1.0, "bool": True, "str | None": None, "float | None": None, "int | None": None,
    "tuple[str, ...]": ("one", "two"),
}  # fmt: skip


def a_sample(kind: type[Any]) -> Any:
    """An event of `kind`, each field filled by its declared type."""
    if kind is events.CallFinished:
        return kind("gcs", "get", "failed", 503, None, 1, 0.1, "r-1", None, 0, 0, "upstream")
    return kind(**{field.name: SAMPLES[field.type] for field in dataclasses.fields(kind)})
