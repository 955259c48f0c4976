"""Where secrets are, and the one way to read them. Configuration holds names of places, never values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from collections.abc import Mapping

DUMMY_KEY = "kept-by-blueprint-proxy"
"""What `blueprint-proxy env` exports as the jobs' key: SDKs insist on one. Read back, it counts as no key."""

_LARGEST = 64 * 1024
"""Bytes of a secret's file: Secret Manager's own limit for a version."""


@final
class Secret:
    """A secret's value, which shows itself only to `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value: for the wire only, never for a log."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __str__(self) -> str:
        return "hidden"

    def __format__(self, spec: str) -> str:
        return format("hidden", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """One place: the `name` of an environment variable, or the path of a file."""

    kind: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"environment {self.name}" if self.kind == "env" else f"file {self.name}"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Places of one secret, asked in order."""

    places: tuple[SecretPlace, ...]

    def __str__(self) -> str:
        return ", then ".join(map(str, self.places)) or "nowhere"


@dataclass(frozen=True, slots=True)
class CredentialSource(SecretSource):
    """An upstream's credential: its places, the Secret Manager id, and the header that carries it.

    `header` is a (lower-case name, template) pair with `{}` where the value goes; None leaves the header to the kind.
    """

    secret: str | None = None
    header: tuple[str, str] | None = None


def read_secret(source: SecretSource, environ: Mapping[str, str] | None = None) -> Secret | None:
    """Return the first value that one of the source's places holds; None when none does.

    One newline at a file's end is dropped; an empty value is no value. Raises OSError for a file that is there and
    cannot be read, ValueError (naming the place only) for a value that no header can carry.
    """
    env = os.environ if environ is None else environ  # noqa: TID251 - the configuration is the environment's one reader
    for place in source.places:
        value = env.get(place.name, "") if place.kind == "env" else _read_file(place.name)
        if not value or value == DUMMY_KEY:
            continue
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{place} holds characters that no header can carry (only printable ASCII can be sent)")
        return Secret(value)
    return None


def _read_file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if len(raw) > _LARGEST:
        raise ValueError(f"file {name} is longer than 64 KiB")
    if raw.endswith(b"\n"):
        raw = raw[:-2] if raw.endswith(b"\r\n") else raw[:-1]
    return raw.decode("latin-1")
