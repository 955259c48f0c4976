"""The guide's four factories. Two calls of one give two clients, which share the sidecar's breaker and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_clients.external_services import gemini, genie_sim, particulate
from blueprint_clients.external_services.configuration import ServiceClientConfig
from blueprint_clients.external_services.gcs import GcsClient
from blueprint_clients.external_services.gemini import GeminiClient
from blueprint_clients.external_services.genie_sim import GenieSimClient
from blueprint_clients.external_services.particulate import ParticulateClient

if TYPE_CHECKING:
    from collections.abc import Callable


def create_gemini_client(upstream: str | None = None) -> GeminiClient:
    """Make a client for Gemini, and move google-generativeai to the sidecar; `upstream` names one of several."""
    return GeminiClient(ServiceClientConfig("gemini_api", upstream=upstream, default_timeout=gemini.DEFAULT_TIMEOUT_S))


def create_genie_sim_client(
    upstream: str | None = None, *, on_new_epoch: Callable[[int], object] | None = None
) -> GenieSimClient:
    """Make a client for Genie Sim; `upstream` names one of several of the kind.

    `on_new_epoch` is called when the simulator has been restarted: see GenieSimClient.on_new_epoch.
    """
    config = ServiceClientConfig("genie_sim_api", upstream=upstream, default_timeout=genie_sim.DEFAULT_TIMEOUT_S)
    return GenieSimClient(config, on_new_epoch=on_new_epoch)


def create_gcs_client(upstream: str | None = None) -> GcsClient:
    """Make a client for Cloud Storage. A transfer takes as long as it takes: without a timeout it has none."""
    return GcsClient(ServiceClientConfig("gcs", upstream=upstream, default_timeout=None))


def create_particulate_client(upstream: str | None = None) -> ParticulateClient:
    """Make a client for Particulate; `upstream` names one of several of the kind."""
    return ParticulateClient(
        ServiceClientConfig("particulate", upstream=upstream, default_timeout=particulate.DEFAULT_TIMEOUT_S)
    )
