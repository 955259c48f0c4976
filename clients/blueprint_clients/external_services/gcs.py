"""Cloud Storage: settings for google-cloud-storage."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from blueprint_clients.environment import environment
from blueprint_clients.external_services.client import ServiceClient
from blueprint_clients.external_services.pointing import present, url_of

if TYPE_CHECKING:
    from blueprint_clients.external_services.configuration import ServiceClientConfig
    from blueprint_clients.sidecar import Sidecar


class GcsClient(ServiceClient):
    """What `create_gcs_client()` makes."""

    kind = "gcs"

    def __init__(self, config: ServiceClientConfig) -> None:
        super().__init__(config)
        self._handed_out = False

    def client_options(self) -> dict[str, Any]:
        """Give google-cloud-storage's client_options; empty without a sidecar.

        `storage.Client(project, credentials=client.credentials(), client_options=client.client_options())`. The SDK
        repeats on its own account; the sidecar recognises its repeats and does not multiply them.
        """
        found = present("gcs", self.config.upstream)
        if found is None:
            return {}
        self._handed_out = True
        return {"api_endpoint": url_of(*found)}

    def credentials(self) -> Any:
        """Give anonymous credentials where the sidecar adds the real ones; None, the SDK's own search, elsewhere."""
        found = present("gcs", self.config.upstream)
        if found is None or not found[1].credential:
            return None
        return importlib.import_module("google.auth.credentials").AnonymousCredentials()

    def _guess(self, sidecar: Sidecar) -> bool:
        return self._handed_out or sidecar.addresses().is_here(environment().storage_address)
