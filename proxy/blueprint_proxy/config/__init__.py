"""Configuration: the YAML file, the environment, the defaults of every kind, and what follows from them.

The only part of the product that reads the environment. `load` gives a Config or every problem at once.
"""

from blueprint_proxy.config.addresses import Address, UpstreamUrl
from blueprint_proxy.config.configuration import (
    Config,
    DrainSettings,
    ListenerTls,
    ListenSettings,
    ScopeSettings,
    SecretsSettings,
)
from blueprint_proxy.config.environment import process_environment
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
    CredentialSource,
    Secret,
    SecretPlace,
    SecretSource,
    read_secret,
)
from blueprint_proxy.config.upstream_models import Kind, Mode, OperationClass
from blueprint_proxy.config.upstream_settings import Provenance, Rule, UpstreamSettings, UpstreamTls

__all__ = [
    "DUMMY_KEY",
    "Address",
    "BodySettings",
    "BreakerSettings",
    "BudgetSettings",
    "ConcurrencySettings",
    "Config",
    "ConfigError",
    "CredentialSource",
    "DrainSettings",
    "Kind",
    "ListenSettings",
    "ListenerTls",
    "Mode",
    "OperationClass",
    "OperationSettings",
    "Problem",
    "Provenance",
    "RateSettings",
    "RetrySettings",
    "Rule",
    "ScopeSettings",
    "Secret",
    "SecretPlace",
    "SecretSource",
    "SecretsSettings",
    "Timeouts",
    "UpstreamSettings",
    "UpstreamTls",
    "UpstreamUrl",
    "explain",
    "exports",
    "json_schema",
    "load",
    "process_environment",
    "read_secret",
    "reference",
]
