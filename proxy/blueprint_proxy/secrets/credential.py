"""An upstream's credential, ready to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.config import CredentialSource, Secret

LOOK_AGAIN = 1.0
"""Seconds before a missing credential is looked for again when a call needs it."""


@final
class Credential:
    """The field that carries a credential: read once, and looked for again while it is missing.

    `header` is a lower-case name and a template with `{}`. `read` gives the value, or None; what it raises (an
    unreadable file, a value that no field can carry) goes to `on_problem` as text without the value, and counts as
    missing.
    """

    def __init__(
        self,
        source: CredentialSource,
        header: tuple[str, str],
        *,
        read: Callable[[CredentialSource], Secret | None],
        now: Callable[[], float],
        on_found: Callable[[Secret], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._source = source
        self._header = header
        self._read = read
        self._now = now
        self._on_found = on_found
        self._on_problem = on_problem
        self._field: tuple[bytes, bytes] | None = None
        self._looked = float("-inf")

    def __repr__(self) -> str:
        return f"Credential({self.id})"

    @property
    def id(self) -> str:
        """What an operator knows it by: the secret's id, else the first place it is looked for in."""
        return self._source.secret or str(self._source.places[0] if self._source.places else "nowhere")

    @property
    def places(self) -> str:
        """Where it is looked for, in order."""
        return str(self._source)

    def field(self) -> tuple[bytes, bytes] | None:
        """The field to add, or None while the credential is missing."""
        if self._field is None and self._now() - self._looked >= LOOK_AGAIN:
            self._looked = self._now()
            self._look()
        return self._field

    def _look(self) -> None:
        try:
            secret = self._read(self._source)
        except (OSError, ValueError) as problem:
            self._on_problem(str(problem))
            return
        if secret is None:
            self._on_problem("not found")
            return
        self._on_found(secret)
        name, template = self._header
        self._field = (name.encode("ascii"), template.replace("{}", secret.reveal()).encode("ascii"))
