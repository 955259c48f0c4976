"""From the file's models to the Config that the runtime holds."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

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
from blueprint_proxy.config.defaults import BUILT_IN_UPSTREAMS
from blueprint_proxy.config.environment import OTHER_NAMES
from blueprint_proxy.config.patterns import Pattern
from blueprint_proxy.config.policy_values import Setting, policy_values
from blueprint_proxy.config.secret_places import CredentialSource, SecretPlace
from blueprint_proxy.config.unbuilt import GOOGLE_ADC, SERVED_KINDS
from blueprint_proxy.config.upstream_settings import (
    UNSAID,
    IdentitySettings,
    RestartSettings,
    Rule,
    SimulatorSettings,
    UpstreamSettings,
    UpstreamTls,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blueprint_proxy.config.models import ConfigFile
    from blueprint_proxy.config.reading import KeyPath
    from blueprint_proxy.config.secret_places import SecretSource
    from blueprint_proxy.config.upstream_models import CredentialFile, PolicyFile, UpstreamFile


def build_config(
    parsed: ConfigFile,
    *,
    source: Path | None,
    origin: Callable[[KeyPath], str | None],
    job_token: SecretSource | None,
    admin_token: SecretSource | None,
    project: str | None,
) -> Config:
    """Return the Config of a file that has no problems.

    `origin` says where a key path was set; `project` is the environment's Google Cloud project.
    """
    secrets = SecretsSettings(parsed.secrets.order, parsed.secrets.directory, parsed.secrets.refresh)
    manager = parsed.secret_manager
    tls = None if parsed.tls is None else ListenerTls(parsed.tls.cert, parsed.tls.key, parsed.tls.client_ca)
    return Config(
        listen=ListenSettings(parsed.listen.http, parsed.listen.grpc, parsed.listen.admin),
        tls=tls,
        admin=ScopeSettings(admin_token),
        jobs=JobsSettings(job_token, MappingProxyType(dict(_for_jobs(each, secrets) for each in parsed.jobs.secrets))),
        state_dir=parsed.state_dir,
        drain=DrainSettings(parsed.drain.grace),
        secrets=secrets,
        secret_manager=SecretManagerSettings(project)
        if manager is None
        else SecretManagerSettings(manager.project or project, manager.endpoint, manager.insecure),
        upstreams=MappingProxyType(
            {name: _upstream(name, upstream, secrets, origin) for name, upstream in parsed.upstreams.items()}
        ),
        source=source,
    )


def _upstream(
    name: str, model: UpstreamFile, secrets: SecretsSettings, origin: Callable[[KeyPath], str | None]
) -> UpstreamSettings:
    path: KeyPath = ("upstreams", name)
    patterns = [(Pattern.parse(text, position), each) for position, (text, each) in enumerate(model.operations.items())]
    patterns.sort(key=lambda pair: pair[0])
    rules = [Rule(None, _settings(model, path, origin))]
    rules += [Rule(pattern, _settings(each, (*path, "operations", pattern.text), origin)) for pattern, each in patterns]
    unset = f"built-in upstream {name}" if name in BUILT_IN_UPSTREAMS else UNSAID
    origins = {key: origin((*path, key)) or unset for key in ("kind", "url", "credential")}
    credential = model.credential
    if credential is not None and credential.google is not None:
        origins["credential"] = GOOGLE_ADC
        credential = None
    return UpstreamSettings(
        name=name,
        kind=model.kind,
        url=model.url,
        credential=None if credential is None else _credential(credential, secrets),
        tls=UpstreamTls(model.tls.ca, model.tls.cert, model.tls.key),
        served=model.kind in SERVED_KINDS,
        rules=tuple(rules),
        origins=MappingProxyType(origins),
        has_path_patterns=any(pattern.over_path for pattern, _ in patterns),
        simulator=_simulator(model),
    )


def _simulator(model: UpstreamFile) -> SimulatorSettings:
    identity, restart = model.identity, model.restart
    known = IdentitySettings()
    if identity is not None:
        known = IdentitySettings(identity.pid_file, identity.container, identity.command)
    hook = None
    if restart is not None:
        container = known.container if restart.command is None and restart.signal is None else None
        hook = RestartSettings(restart.command, restart.signal, container, restart.cooldown, restart.per_hour)
    return SimulatorSettings(hook, known, model.app_errors == "fail", model.endpoint_check)


def _settings(
    model: PolicyFile, path: KeyPath, origin: Callable[[KeyPath], str | None]
) -> MappingProxyType[str, Setting]:
    return MappingProxyType(
        {key: Setting(value, origin((*path, *key.split("."))) or "built-in") for key, value in policy_values(model)}
    )


def _credential(model: CredentialFile, secrets: SecretsSettings) -> CredentialSource:
    return _source(model.secret, model.file, model.env, model.header, secrets)


def _for_jobs(pinned: str, secrets: SecretsSettings) -> tuple[str, CredentialSource]:
    """Return the secret's id, and where it is: its variable is the id in upper case, as the pipeline names them all."""
    name = _without_version(pinned)
    variable = name.upper().replace("-", "_")
    return name, _source(pinned, None, None if variable[:1].isdigit() else variable, None, secrets)


def _source(
    pinned: str | None, file: Path | None, env: str | None, header: tuple[str, str] | None, secrets: SecretsSettings
) -> CredentialSource:
    name = None if pinned is None else _without_version(pinned)
    places: list[SecretPlace] = []
    for where in secrets.order:
        if where == "secret_manager" and pinned is not None:
            places.append(SecretPlace("secret_manager", pinned))
        elif where == "file":
            if file is not None:
                places.append(SecretPlace("file", str(file)))
            if name is not None:
                places.append(SecretPlace("file", str(secrets.directory / name)))
        elif where == "env" and env is not None:
            places += [SecretPlace("env", variable) for variable in OTHER_NAMES.get(env, (env,))]
    return CredentialSource(tuple(places), name, header)


def _without_version(pinned: str) -> str:
    return pinned.partition("@")[0]
