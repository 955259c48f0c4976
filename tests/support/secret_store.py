"""A store of secrets without places: what is held, and what a look brings, is for the test to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.config import CredentialSource, Secret, SecretPlace
from blueprint_proxy.secrets.credential import Credential
from blueprint_proxy.secrets.held import HeldSecret

if TYPE_CHECKING:
    from support.scripted_upstream import Heard

SOURCE = CredentialSource((SecretPlace("file", "/run/secrets/the-key"), SecretPlace("env", "THE_KEY")), "the-key")


class ScriptedStore:
    """One secret. Each `renew` takes the next of `news` as its value; without any left it stays. `asked` counts."""

    def __init__(self, value: str | None = None, *news: str, loaded: bool = True) -> None:
        self.held = HeldSecret(SOURCE)
        self.held.place = SOURCE.places[0]
        self.news = list(news)
        self.asked = 0
        if value is not None:
            self.held.value = Secret(value)
        else:
            self.held.why = "file /run/secrets/the-key (nothing there), environment THE_KEY (nothing there)"
        if loaded:
            self.held.loaded.set()

    async def renew(self, held: HeldSecret, rejected: Secret) -> bool:
        assert held is self.held
        self.asked += 1
        if self.news:
            self.held.value = Secret(self.news.pop(0))
        return held.value != rejected

    def credential(self, heard: Heard, *, header: tuple[str, str] = ("authorization", "Bearer {}")) -> Credential:
        return Credential("up", self.held, header, store=self, emit=heard.telemetry.emit)  # type: ignore[arg-type]
