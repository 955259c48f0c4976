"""Configuration: the YAML file, the environment, the defaults of every kind, and what follows from them.

The only part of the product that reads the environment. `load` gives a Config or every problem at once.
"""

from blueprint_proxy.config.addresses import Address, UpstreamUrl
from blueprint_proxy.config.configuration import (
    Config,
    DrainSettings,
    JobsSettings,
    ListenerTls,
    ListenSettings,
    ScopeSettings,
    SecretManagerSettings,
    SecretsSettings,
)
from blueprint_proxy.config.environment import process_environment, quieten_grpc
from blueprint_proxy.config.explaining import explain
from blueprint_proxy.config.exports import exports
from blueprint_proxy.config.loading import load
from blueprint_proxy.config.operations import (
    BodySettings,
    BreakerSettings,
    BudgetSettings,
    ConcurrencySettings,
    OperationSettings,
    RateSettings,
    RetrySettings,
    Timeouts,
)
from blueprint_proxy.config.problems import ConfigError, Problem
from blueprint_proxy.config.reference import json_schema, reference
from blueprint_proxy.config.secret_places import (
    DUMMY_KEY,
    NOT_CARRIED,
    CredentialSource,
    Secret,
    SecretPlace,
    SecretSource,
    carried_by_a_header,
    read_place,
    read_secret,
    without_newline,
)
from blueprint_proxy.config.upstream_models import Kind, Mode, OperationClass
from blueprint_proxy.config.upstream_settings import (
    IdentitySettings,
    Provenance,
    RestartSettings,
    Rule,
    SimulatorSettings,
    UpstreamSettings,
    UpstreamTls,
)

__all__ = [
    "DUMMY_KEY",
    "NOT_CARRIED",
    "Address",
    "BodySettings",
    "BreakerSettings",
    "BudgetSettings",
    "ConcurrencySettings",
    "Config",
    "ConfigError",
    "CredentialSource",
    "DrainSettings",
    "IdentitySettings",
    "JobsSettings",
    "Kind",
    "ListenSettings",
    "ListenerTls",
    "Mode",
    "OperationClass",
    "OperationSettings",
    "Problem",
    "Provenance",
    "RateSettings",
    "RestartSettings",
    "RetrySettings",
    "Rule",
    "ScopeSettings",
    "Secret",
    "SecretManagerSettings",
    "SecretPlace",
    "SecretSource",
    "SecretsSettings",
    "SimulatorSettings",
    "Timeouts",
    "UpstreamSettings",
    "UpstreamTls",
    "UpstreamUrl",
    "carried_by_a_header",
    "explain",
    "exports",
    "json_schema",
    "load",
    "process_environment",
    "quieten_grpc",
    "read_place",
    "read_secret",
    "reference",
    "without_newline",
]
