"""What a job is told once: a warning that comes with every call is one that nobody reads."""

from __future__ import annotations

import logging

LOG = logging.getLogger("blueprint_clients")

_said: set[str] = set()


def say_once(topic: str, message: str, *arguments: object) -> None:
    """Log a warning, unless this process has already been told of this topic."""
    if topic not in _said:
        _said.add(topic)
        LOG.warning(message, *arguments)


def forget() -> None:
    """Let every topic be told again."""
    _said.clear()
