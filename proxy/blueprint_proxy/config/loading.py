"""load(): file and environment to a Config, or every problem at once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from blueprint_proxy.config.building import build_config
from blueprint_proxy.config.checking import check_listeners, check_upstreams, listeners_of
from blueprint_proxy.config.complaints import complaint
from blueprint_proxy.config.defaults import BUILT_IN_UPSTREAMS
from blueprint_proxy.config.environment import (
    ADMIN_TOKEN,
    CONFIG_FILE,
    ENVIRONMENT,
    JOB_TOKEN,
    google_project,
    job_variables,
    overrides,
    process_environment,
    stray_variables,
)
from blueprint_proxy.config.models import ConfigFile, TokenFile
from blueprint_proxy.config.problems import ConfigError, Problem
from blueprint_proxy.config.reading import Document, KeyPath, read_yaml
from blueprint_proxy.config.secret_places import SecretPlace, SecretSource, read_secret
from blueprint_proxy.config.unbuilt import take_unbuilt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint_proxy.config.configuration import Config

LARGEST_FILE = 1024 * 1024
"""Bytes: more than any configuration, little enough to read at once."""


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration of `path`, else of the file that BLUEPRINT_PROXY_CONFIG names, else the built-in one.

    `environ` is this process's environment where None. Raises ConfigError with every problem there is.
    """
    env = process_environment() if environ is None else environ
    if path is None and env.get(CONFIG_FILE):
        path = Path(env[CONFIG_FILE])
    return _Loading(_read(path), path, env).config()


def _read(path: Path | None) -> Document:
    if path is None:
        return Document("built-in configuration")
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
        if len(raw) > LARGEST_FILE:
            raise ConfigError([Problem("", file, 0, "is longer than 1 MiB")])
        return read_yaml(raw.decode("utf-8-sig"), file)
    except OSError as error:
        raise ConfigError([Problem("", file, 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("", file, 0, "is not UTF-8 text")]) from None


class _Loading:
    """One load: the file's data on its way to a Config, and the problems found on it."""

    def __init__(self, document: Document, path: Path | None, environ: Mapping[str, str]) -> None:
        self._document = document
        self._path = path
        self._environ = environ
        self._problems = list(document.problems)
        self._variables: dict[KeyPath, str] = {}

    def config(self) -> Config:
        removed, data = _without_nulls(self._document.data)
        unknown_kinds: set[str] = set()
        for path, value in take_unbuilt(data, BUILT_IN_UPSTREAMS):
            self._add(path, "not built yet" if value is None else f"{value}: not built yet")
            if value is not None and path[-1] == "kind":
                unknown_kinds.add(str(path[1]))
        data["upstreams"] = self._upstreams(data.get("upstreams", {}), removed)
        parsed = self._parse(data)
        tokens = {scope: self._token(scope, data) for scope in ("jobs", "admin")}
        for path, message in check_listeners(data, {scope: has for scope, (has, _) in tokens.items()}):
            self._add(path, message)
        if isinstance(data["upstreams"], dict):
            self._problems += stray_variables(self._environ, data["upstreams"])
            for path, message in check_upstreams(data["upstreams"], listeners_of(data), unknown_kinds):
                self._add(("upstreams", *path), message)
        if self._problems or parsed is None:
            raise ConfigError(self._problems)
        return build_config(
            parsed,
            source=self._path,
            origin=self._origin,
            job_token=tokens["jobs"][1],
            admin_token=tokens["admin"][1],
            project=google_project(self._environ),
        )

    def _add(self, path: KeyPath, message: str, *, shown: KeyPath | None = None) -> None:
        """Note a problem at the path: of its variable if one set it, else at its line. `shown`: the key named."""
        key = _dotted(path if shown is None else shown)
        for end in range(len(path), 0, -1):
            if path[:end] in self._variables:
                variable = self._variables[path[:end]]
                self._problems.append(Problem(variable, ENVIRONMENT, 0, f"{key} {message}"))
                return
        self._problems.append(Problem(key, self._document.file, self._document.line(path), message))

    def _upstreams(self, given: Any, removed: set[str]) -> Any:
        """Return the built-in upstreams, the file's over them, the environment's urls over both."""
        if not isinstance(given, dict):
            return given
        merged: dict[str, Any] = {
            name: copy.deepcopy(built_in) for name, built_in in BUILT_IN_UPSTREAMS.items() if name not in removed
        }
        for name, upstream in given.items():
            merged[name] = _merge(merged.get(name, {}), upstream)
        with_url = {name for name, upstream in given.items() if isinstance(upstream, dict) and "url" in upstream}
        for override in overrides(self._environ, [name for name, value in merged.items() if isinstance(value, dict)]):
            with_url.add(override.upstream)
            merged[override.upstream]["url"] = override.value
            self._variables["upstreams", override.upstream, "url"] = override.variable
        for override in job_variables(self._environ):
            upstream = merged.get(override.upstream)
            if override.upstream in with_url or not isinstance(upstream, dict):
                continue
            upstream["url"] = override.value
            self._variables["upstreams", override.upstream, "url"] = override.variable
            if override.variable == "STORAGE_EMULATOR_HOST" and "credential" not in given.get("gcs", {}):
                upstream["credential"] = "none"
                self._variables["upstreams", "gcs", "credential"] = override.variable
        return merged

    def _parse(self, data: dict[str, Any]) -> ConfigFile | None:
        try:
            return ConfigFile.model_validate(data)
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=False):
                found = complaint(details)
                if found is not None:
                    self._add(found.path, found.message, shown=found.shown)
            return None

    def _token(self, scope: str, data: dict[str, Any]) -> tuple[bool, SecretSource | None]:
        """Return whether the scope has a token, and where. One that the file names must be there."""
        section = data.get(scope)
        given = section.get("token") if isinstance(section, dict) else None
        if given is None:
            source = SecretSource((SecretPlace("env", ADMIN_TOKEN if scope == "admin" else JOB_TOKEN),))
        else:
            try:
                token = TokenFile.model_validate(given)
            except ValidationError:
                return True, None  # said already, and no reason to say that there is none
            place = SecretPlace("file", str(token.file)) if token.env is None else SecretPlace("env", token.env)
            source = SecretSource((place,))
        try:
            value = read_secret(source, self._environ)
        except (OSError, ValueError) as error:
            reason = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error)
            self._add((scope, "token"), f"{source}: {reason}")
            return True, None
        if value is None and given is not None:
            self._add((scope, "token"), f"{source} holds no token")
            return True, None
        return value is not None, None if value is None else source

    def _origin(self, path: KeyPath) -> str | None:
        """Where the key was set: FILE:LINE, a variable, or None where nobody did."""
        if path in self._variables:
            return f"environment {self._variables[path]}"
        if path in self._document.lines:
            return f"{self._document.file}:{self._document.lines[path]}"
        return None


def _dotted(path: KeyPath) -> str:
    """Name the path as people write it: `retry.on[1]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _without_nulls(data: dict[str, Any]) -> tuple[set[str], dict[str, Any]]:
    """Return the upstreams that the file removes (`NAME: null`), and the data without keys that have no value."""
    upstreams = data.get("upstreams")
    removed = {name for name, value in upstreams.items() if value is None} if isinstance(upstreams, dict) else set()
    return removed, _pruned(data)


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    return value


def _merge(under: Any, over: Any) -> Any:
    """`over` over `under`, key by key. A credential is one choice and is replaced whole, as are lists."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    merged = dict(under)
    for key, value in over.items():
        merged[key] = value if key == "credential" else _merge(under.get(key), value)
    return merged
