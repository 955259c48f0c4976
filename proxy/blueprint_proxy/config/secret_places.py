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
    """One place: the `name` of an environment variable, the path of a file, or a Secret Manager id (`ID` or `ID@N`)."""

    kind: Literal["secret_manager", "env", "file"]
    name: str

    def __str__(self) -> str:
        if self.kind == "secret_manager":
            secret, _, version = self.name.partition("@")
            return f"Secret Manager {secret}" + (f" version {version}" if version else "")
        return f"environment {self.name}" if self.kind == "env" else f"file {self.name}"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Places of one secret, asked in order."""

    places: tuple[SecretPlace, ...]

    def __str__(self) -> str:
        return ", then ".join(map(str, self.places)) or "nowhere"


@dataclass(frozen=True, slots=True)
class CredentialSource(SecretSource):
    """A secret that the store keeps: its places, its id, and, for an upstream's credential, the header that carries it.

    `secret` is the id without a version. `header` is a (lower-case name, template) pair with `{}` where the value goes;
    None leaves the header to the kind.
    """

    secret: str | None = None
    header: tuple[str, str] | None = None

    @property
    def id(self) -> str:
        """What an operator knows it by: the secret's id, else the first place it is looked for in."""
        return self.secret or str(self.places[0] if self.places else "nowhere")


def read_secret(source: SecretSource, environ: Mapping[str, str] | None = None) -> Secret | None:
    """Return the first value that one of the source's files and variables holds; None when none does.

    Raises OSError for a file that is there and cannot be read, ValueError (naming the place only) for a value that no
    header can carry.
    """
    for place in source.places:
        value = None if place.kind == "secret_manager" else read_place(place, environ)
        if value is None:
            continue
        if not carried_by_a_header(value):
            raise ValueError(f"{place} {NOT_CARRIED}")
        return value
    return None


NOT_CARRIED = "holds characters that no header can carry (only printable ASCII can be sent)"


def carried_by_a_header(secret: Secret) -> bool:
    """Whether a header field can have it as its value."""
    value = secret.reveal()
    return value.isascii() and value.isprintable()


def read_place(place: SecretPlace, environ: Mapping[str, str] | None = None) -> Secret | None:
    """Return what a file or a variable holds; None when there is no value there.

    One newline at a file's end is dropped; an empty value is no value. Raises OSError for a file that is there and
    cannot be read, ValueError (naming the place only) for one that is too long or no text.
    """
    env = os.environ if environ is None else environ  # noqa: TID251 - the configuration is the environment's one reader
    value = env.get(place.name, "") if place.kind == "env" else _read_file(place.name)
    if not value or value == DUMMY_KEY:
        return None
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{place} is not UTF-8 text")
    return Secret(value)


def _read_file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if len(raw) > _LARGEST:
        raise ValueError(f"file {name} is longer than 64 KiB")
    return without_newline(raw).decode("utf-8", "surrogateescape")


def without_newline(raw: bytes) -> bytes:
    """Return a value without the one newline that editors and `echo` leave at its end."""
    if raw.endswith(b"\n"):
        return raw[:-2] if raw.endswith(b"\r\n") else raw[:-1]
    return raw
