"""Particulate: a plain HTTP service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.environment import environment
from blueprint_clients.errors import ConfigurationError
from blueprint_clients.external_services.client import ServiceClient
from blueprint_clients.external_services.pointing import present, url_of

if TYPE_CHECKING:
    from blueprint_clients.external_services.configuration import ServiceClientConfig
    from blueprint_clients.sidecar import Sidecar

DEFAULT_TIMEOUT_S = 300.0
"""The service may wait 60 s for its lock and run 120 s, and behind another call: the guide's 15 s gave up before."""


class ParticulateClient(ServiceClient):
    """What `create_particulate_client()` makes."""

    kind = "particulate"

    def __init__(self, config: ServiceClientConfig) -> None:
        super().__init__(config)
        self._handed_out = False

    @property
    def endpoint(self) -> str:
        """The service's address: at the sidecar, else PARTICULATE_ENDPOINT. ConfigurationError where neither is."""
        found = present("particulate", self.config.upstream)
        if found is not None:
            self._handed_out = True
            return url_of(*found)
        own = environment().particulate_address
        if own is None:
            raise ConfigurationError("there is no sidecar, and PARTICULATE_ENDPOINT is not set")
        return own

    def _guess(self, sidecar: Sidecar) -> bool:
        return self._handed_out or sidecar.addresses().is_here(environment().particulate_address)
