"""Gemini: settings for google-genai, and the legacy google-generativeai moved to the sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprint_clients.environment import environment
from blueprint_clients.external_services.client import ServiceClient
from blueprint_clients.external_services.legacy_gemini import LEGACY, can_be_pointed
from blueprint_clients.external_services.pointing import KEPT, fields, present, url_of
from blueprint_clients.sidecar import sidecar_of

if TYPE_CHECKING:
    from blueprint_clients.external_services.configuration import ServiceClientConfig
    from blueprint_clients.external_services.ways import Ended
    from blueprint_clients.sidecar import Sidecar

DEFAULT_TIMEOUT_S = 600.0
"""Two slow generations and the wait between them, as the sidecar's own; the guide's 30 s cut thinking models."""


class GeminiClient(ServiceClient):
    """What `create_gemini_client()` makes."""

    kind = "gemini"

    def __init__(self, config: ServiceClientConfig) -> None:
        super().__init__(config)
        self._handed_out = False
        self._legacy_calls = 0
        LEGACY.follow(config.upstream)

    def http_options(self) -> dict[str, Any]:
        """Give google-genai's HttpOptions; empty without a sidecar, so that the SDK goes to Google itself.

        The SDK needs a key beside them: `client_options()` has both. Its own retries are off unless asked for.
        """
        found = present("gemini", self.config.upstream)
        if found is None:
            return {}
        self._handed_out = True
        headers = fields()
        return {"base_url": url_of(*found), **({"headers": headers} if headers else {})}

    def client_options(self) -> dict[str, Any]:
        """Give the arguments of google-genai's Client: `genai.Client(**client.client_options())`.

        The key is a dummy where the sidecar adds the real one, else GOOGLE_API_KEY or GEMINI_API_KEY.
        """
        found = present("gemini", self.config.upstream)
        key = KEPT if found is not None and found[1].credential else environment().gemini_key
        options = self.http_options()
        return {**({} if key is None else {"api_key": key}), **({"http_options": options} if options else {})}

    def _goes_through(self, sidecar: Sidecar) -> bool:
        self._legacy_calls = LEGACY.calls
        LEGACY.point(sidecar)
        return super()._goes_through(sidecar)

    def _guess(self, sidecar: Sidecar) -> bool:
        return self._is_told(sidecar) or LEGACY.pointed or (can_be_pointed(sidecar) and LEGACY.will_be_pointed())

    def _shown(self, ended: Ended) -> bool | None:
        shown = super()._shown(ended)
        if shown is not None or LEGACY.calls != self._legacy_calls:
            return shown is not False
        sidecar = sidecar_of()
        if ended.succeeded and sidecar is not None and not self._is_told(sidecar):
            return False  # through only on the guess that the legacy SDK would be used, and it was not
        return None

    def _is_told(self, sidecar: Sidecar) -> bool:
        """Whether google-genai has been given the sidecar's address, here or by its variable."""
        return self._handed_out or sidecar.addresses().is_here(environment().gemini_address)
