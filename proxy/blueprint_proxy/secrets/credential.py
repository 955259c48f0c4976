"""An upstream's credential, ready to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from blueprint_proxy.config import NOT_CARRIED, carried_by_a_header
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.telemetry.events import CredentialMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.config import Secret
    from blueprint_proxy.secrets.held import HeldSecret
    from blueprint_proxy.secrets.store import SecretStore


@final
class Credential:
    """The field that carries a secret to one upstream. `header` is a lower-case name and a template with `{}`.

    A value that no header can carry counts as missing.
    """

    __slots__ = ("_emit", "_header", "_held", "_made", "_made_of", "_store", "_told", "upstream")

    def __init__(
        self,
        upstream: str,
        held: HeldSecret,
        header: tuple[str, str],
        *,
        store: SecretStore,
        emit: Callable[[CredentialMissing], None],
    ) -> None:
        self.upstream = upstream
        self._held = held
        self._header = header
        self._store = store
        self._emit = emit
        self._made_of: Secret | None = None
        self._made: tuple[bytes, bytes] | None = None
        self._told = ""

    def __repr__(self) -> str:
        return f"Credential({self.id})"

    @property
    def id(self) -> str:
        """What an operator knows it by."""
        return self._held.id

    def field(self) -> tuple[bytes, bytes] | None:
        """The field to add, or None while the credential is missing. On every call's way: no more than two reads."""
        if self._held.value is not self._made_of:
            self._make(self._held.value)
        return self._made

    async def first_load(self) -> None:
        """Wait until every place has been looked at once."""
        await self._held.loaded.wait()

    async def renew(self, rejected: Secret) -> bool:
        """The upstream does not take `rejected`: whether there is another value now that a header can carry."""
        return await self._store.renew(self._held, rejected) and self.field() is not None

    @property
    def secret(self) -> Secret | None:
        """The value that `field` carries now: to tell it from a later one."""
        return self._made_of

    def missing(self) -> Refusal:
        """The refusal of a call that needs it; an operator hears of it once for every reason why."""
        why = f"looked in {self._held.why}"
        if self._held.value is not None:
            why = f"what is in {self._held.origin} {NOT_CARRIED}"
        if why != self._told:
            self._told = why
            self._emit(CredentialMissing(self.upstream, self.id, why))
        return Refusal(
            Reason.FORBIDDEN,
            f"the credential of upstream {self.upstream} ({self.id}) is missing: {why}",
            sent=False,
        )

    def _make(self, secret: Secret | None) -> None:
        self._made_of, self._made = secret, None
        if secret is not None and carried_by_a_header(secret):
            name, template = self._header
            self._made = (name.encode("ascii"), template.replace("{}", secret.reveal()).encode("ascii"))
