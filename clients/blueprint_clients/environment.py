"""What a job's environment says. Nothing else in this distribution reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PROXY = "http://127.0.0.1:8901"
OFF = "off"


@dataclass(frozen=True)
class JobEnvironment:
    """The variables of the contract and of the jobs, read once; an empty variable counts as not set.

    `proxy` is the sidecar's admin address, None for BLUEPRINT_PROXY=off. `scene_id`, `job_name` and `bucket` are what
    the jobs' own images set. The rest is where the jobs' SDKs are told to go, whoever told them.
    """

    proxy: str | None = DEFAULT_PROXY
    token: str | None = field(default=None, repr=False)
    run: str | None = None
    job_name: str | None = None
    scene_id: str | None = None
    bucket: str | None = None
    gemini_key: str | None = field(default=None, repr=False)
    gemini_address: str | None = None
    storage_address: str | None = None
    particulate_address: str | None = None
    geniesim_address: str | None = None


def environment(variables: Mapping[str, str] | None = None) -> JobEnvironment:
    """Read the process's environment as it is now, or the variables given."""
    said = os.environ if variables is None else variables  # noqa: TID251 -- the one reader on the job's side
    proxy, token = sidecar_named(said)
    host, port = said.get("GENIESIM_HOST"), said.get("GENIESIM_PORT")
    return JobEnvironment(
        proxy=proxy,
        token=token,
        run=said.get("BLUEPRINT_RUN") or None,
        job_name=said.get("JOB_NAME") or None,
        scene_id=said.get("SCENE_ID") or None,
        bucket=said.get("BUCKET") or None,
        gemini_key=said.get("GOOGLE_API_KEY") or said.get("GEMINI_API_KEY") or None,  # the SDK's own order
        gemini_address=said.get("GOOGLE_GEMINI_BASE_URL") or None,
        storage_address=said.get("STORAGE_EMULATOR_HOST") or said.get("API_ENDPOINT_OVERRIDE") or None,
        particulate_address=said.get("PARTICULATE_ENDPOINT") or None,
        geniesim_address=f"{host or 'localhost'}:{port or '50051'}" if host or port else None,
    )


def sidecar_named(variables: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """Read the sidecar's address, None for off, and the job's token: every guarded function asks for these two."""
    said = os.environ if variables is None else variables  # noqa: TID251 -- as above
    proxy = said.get("BLUEPRINT_PROXY") or DEFAULT_PROXY
    return None if proxy.lower() == OFF else proxy, said.get("BLUEPRINT_PROXY_TOKEN", "").strip() or None


def run_named() -> str | None:
    """Read BLUEPRINT_RUN alone, for the same reason."""
    return os.environ.get("BLUEPRINT_RUN") or None  # noqa: TID251 -- as above


def with_variables(added: Mapping[str, str]) -> dict[str, str]:
    """Copy the process's environment for a child, with these variables on top."""
    return {**os.environ, **added}  # noqa: TID251 -- as above
