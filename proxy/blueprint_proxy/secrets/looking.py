"""What a look at one place brings: a value, or why there is none. Here for files and variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from blueprint_proxy.config import read_place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint_proxy.config import Secret, SecretPlace


@dataclass(frozen=True, slots=True)
class Found:
    """A value. `version` is the number that Secret Manager resolved, where it was asked."""

    secret: Secret
    version: str | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """No value, and `why`, without values. `passing`: the place could not be asked, and may hold one all the same."""

    why: str
    passing: bool = False


Answer: TypeAlias = Found | NotFound

Fingerprint: TypeAlias = tuple[int, int, int] | None
"""What changes when a file does, also when a symbolic link above it is turned (Kubernetes does that). None: no file."""


def look(place: SecretPlace) -> Answer:
    """Read a file or a variable."""
    try:
        secret = read_place(place)
    except OSError as error:
        return NotFound(error.strerror or "cannot be read", passing=True)
    except ValueError as error:
        return NotFound(str(error))
    return NotFound("nothing there") if secret is None else Found(secret)


def look_at_all(places: Iterable[SecretPlace]) -> dict[SecretPlace, Answer]:
    """Read every place. For a thread: a file may be on a disk that hangs."""
    return {place: look(place) for place in places}


def fingerprints(files: Iterable[str]) -> dict[str, Fingerprint]:
    """Tell each file's present version. For a thread, as above."""
    return {file: _fingerprint(Path(file)) for file in files}


def _fingerprint(file: Path) -> Fingerprint:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
