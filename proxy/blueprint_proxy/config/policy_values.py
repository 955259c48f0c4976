"""Policy keys as a flat table (`retry.attempts`, ...): out of the models, out of the defaults, back to text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config.defaults import defaults_of
from blueprint_proxy.config.units import format_duration, format_size
from blueprint_proxy.config.upstream_models import OperationFile, PolicyFile

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECTIONS = ("timeouts", "retry", "retry_budget", "breaker", "concurrency", "rate", "body")
_SIZES = frozenset({"body.memory", "body.spool", "body.limit", "message_limit"})
_DURATIONS = frozenset(
    {
        "deadline",
        "timeouts.connect",
        "timeouts.first_byte",
        "timeouts.idle",
        "timeouts.attempt",
        "retry.base",
        "retry.cap",
        "breaker.window",
        "breaker.slow_call",
        "breaker.age",
        "breaker.open",
        "breaker.open_cap",
        "breaker.probe_lease",
        "concurrency.queue_timeout",
    }
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that somebody set, and where."""

    value: Any
    origin: str


def policy_values(model: PolicyFile) -> Iterator[tuple[str, Any]]:
    """Return the policy keys that were set in the model, with their values."""
    set_fields = model.model_fields_set
    for name in ("mode", "deadline", "message_limit"):
        if name in set_fields:
            yield name, getattr(model, name)
    for name in _SECTIONS:
        section = getattr(model, name)
        for key in type(section).model_fields:
            if key in section.model_fields_set:
                yield f"{name}.{key}", getattr(section, key)
    if isinstance(model, OperationFile) and model.class_ is not None:
        yield "class", model.class_
    if isinstance(model, OperationFile) and model.unary is not None:
        yield "unary", model.unary


@cache
def default_values(kind: str) -> dict[str, Any]:
    """Return the kind's defaults by key, read by the models as a file would be."""
    tree: dict[str, Any] = {}
    for key, default in defaults_of(kind).items():
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = "none" if default.value is None else default.value
    return dict(policy_values(PolicyFile.model_validate(tree)))


def show(key: str, value: Any) -> str:
    """Return a policy's value as the file would have it."""
    if value is None:
        return "none"
    if key in _DURATIONS:
        return format_duration(value)
    if key in _SIZES:
        return format_size(value)
    if isinstance(value, tuple | frozenset):
        return "[" + ", ".join(map(str, value)) + "]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
