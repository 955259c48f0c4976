"""What the environment says: of this package alone in the product, which reads it.

Everything here is a function of a mapping, so that a test brings its own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blueprint_proxy.config.problems import Problem
from blueprint_proxy.config.values import PROJECT_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONFIG_FILE = "BLUEPRINT_PROXY_CONFIG"
JOB_TOKEN = "BLUEPRINT_PROXY_TOKEN"  # noqa: S105 - the name of a variable
ADMIN_TOKEN = "BLUEPRINT_PROXY_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
ENVIRONMENT = "environment"
OTHER_NAMES = {"GEMINI_API_KEY": ("GEMINI_API_KEY", "GOOGLE_API_KEY")}
"""Variables that go by two names, in the order they are asked."""

PROJECTS = ("GOOGLE_CLOUD_PROJECT", "GCP_PROJECT", "GOOGLE_CLOUD_PROJECT_ID", "GCP_PROJECT_ID", "PROJECT_ID")
"""Names by which the pipeline's jobs know their Google Cloud project: Google's own first."""

_UPSTREAM_URL = re.compile(r"BLUEPRINT_UPSTREAM_([A-Z0-9._]+)_URL", re.ASCII)


@dataclass(frozen=True, slots=True)
class Override:
    """A key of an upstream that a variable sets."""

    upstream: str
    key: str
    value: Any
    variable: str


def process_environment() -> dict[str, str]:
    """Return the environment of this process as it is now."""
    return dict(os.environ)  # noqa: TID251 - the configuration is the environment's one reader


def quieten_grpc() -> None:
    """Keep gRPC's C core from writing lines of its own to stderr, among our JSON, but for errors.

    It reads this variable when it is first imported, and knows no other way. What the operator set stays.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # noqa: TID251 - the environment's one place


def google_project(environ: Mapping[str, str]) -> str | None:
    """Return the Google Cloud project that the first of PROJECTS names; a value that cannot be one is passed over."""
    values = (environ.get(name, "") for name in PROJECTS)
    return next((value for value in values if re.fullmatch(PROJECT_PATTERN, value, re.ASCII)), None)


def url_variable(upstream: str) -> str:
    """Return the variable that beats the file's url of the upstream."""
    return f"BLUEPRINT_UPSTREAM_{upstream.upper().replace('-', '_')}_URL"


def stray_variables(environ: Mapping[str, str], upstreams: Iterable[str]) -> list[Problem]:
    """Problems of BLUEPRINT_UPSTREAM_*_URL variables that name no upstream, or two."""
    named: dict[str, list[str]] = {}
    for upstream in upstreams:
        named.setdefault(url_variable(upstream), []).append(upstream)
    problems: list[Problem] = []
    for variable, value in environ.items():
        if not value or not _UPSTREAM_URL.fullmatch(variable):
            continue
        meant = named.get(variable, [])
        if not meant:
            message = f"names no upstream (there are {', '.join(sorted(named)) or 'none'})"
            problems.append(Problem(variable, ENVIRONMENT, 0, message))
        elif len(meant) > 1:
            problems.append(Problem(variable, ENVIRONMENT, 0, f"names two upstreams: {' and '.join(meant)}"))
    return problems


def overrides(environ: Mapping[str, str], upstreams: Iterable[str]) -> Iterator[Override]:
    """Return the urls that beat the file."""
    for upstream in upstreams:
        variable = url_variable(upstream)
        if environ.get(variable):
            yield Override(upstream, "url", environ[variable], variable)


def job_variables(environ: Mapping[str, str]) -> Iterator[Override]:
    """Return the urls that the jobs' own variables name, for upstreams whose url nobody else gives."""
    base = environ.get("GOOGLE_GEMINI_BASE_URL", "")
    if base:
        yield Override("gemini", "url", base, "GOOGLE_GEMINI_BASE_URL")
    particulate = environ.get("PARTICULATE_ENDPOINT", "")
    if particulate:
        yield Override("particulate", "url", particulate, "PARTICULATE_ENDPOINT")
    emulator = environ.get("STORAGE_EMULATOR_HOST", "")
    if emulator:  # some SDKs want a scheme here and others want none
        url = emulator if "://" in emulator else f"http://{emulator}"
        yield Override("gcs", "url", url, "STORAGE_EMULATOR_HOST")
    host, port = environ.get("GENIESIM_HOST", ""), environ.get("GENIESIM_PORT", "")
    if host or port:
        name = host or "localhost"
        name = f"[{name}]" if ":" in name and not name.startswith("[") else name
        variables = " and ".join(key for key, set_ in (("GENIESIM_HOST", host), ("GENIESIM_PORT", port)) if set_)
        yield Override("geniesim", "url", f"grpc://{name}:{port or '50051'}", variables)
