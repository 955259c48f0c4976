"""Calls to external services, under the sidecar's retries, breaker, limits and deadlines."""

from blueprint_clients.errors import CircuitBreakerOpen
from blueprint_clients.external_services.client import ServiceClient
from blueprint_clients.external_services.configuration import ServiceClientConfig
from blueprint_clients.external_services.factories import (
    create_gcs_client,
    create_gemini_client,
    create_genie_sim_client,
    create_particulate_client,
)
from blueprint_clients.external_services.rate_limiter import RateLimiter

__all__ = [
    "CircuitBreakerOpen",
    "RateLimiter",
    "ServiceClient",
    "ServiceClientConfig",
    "create_gcs_client",
    "create_gemini_client",
    "create_genie_sim_client",
    "create_particulate_client",
]
