"""The configuration file as pydantic models: its sections, their types and their defaults.

Durations are seconds and sizes bytes once read. Upstreams are in upstream_models.py.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from blueprint_proxy.config.addresses import Address
from blueprint_proxy.config.upstream_models import FileModel, UpstreamFile
from blueprint_proxy.config.values import (
    Amount,
    Duration,
    DurationOrZero,
    Endpoint,
    EnvironmentName,
    FilePath,
    Flag,
    ListenAddress,
    ProjectId,
    SecretId,
    Size,
)

UPSTREAM_NAME = r"^[A-Za-z0-9._-]+$"


class ListenFile(FileModel):
    """Where the proxy listens."""

    http: ListenAddress = Address("127.0.0.1", 8900)
    grpc: ListenAddress = Address("127.0.0.1", 50052)
    admin: ListenAddress = Address("127.0.0.1", 8901)


class ListenerTlsFile(FileModel):
    """TLS of the listeners: PEM files."""

    cert: FilePath
    key: FilePath
    client_ca: FilePath | None = None


class TokenFile(FileModel):
    """Where a token is: exactly one of the two."""

    env: EnvironmentName | None = None
    file: FilePath | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        if not isinstance(value, dict | TokenFile):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
                "must be {env: NAME} or {file: PATH}: a token does not stand in the file itself"
            )
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("must have exactly one of env and file")
        return self


class AdminFile(FileModel):
    """The operators' side."""

    token: TokenFile | None = None


class JobsFile(FileModel):
    """The jobs' side."""

    token: TokenFile | None = None
    secrets: tuple[SecretId, ...] = Field(default=(), description="ids that jobs may read, `ID` or `ID@VERSION`")


class DrainFile(FileModel):
    """How the proxy ends."""

    grace: DurationOrZero = 30.0


class SecretsFile(FileModel):
    """Where secrets are looked up, and how often again."""

    order: tuple[Literal["secret_manager", "file", "env"], ...] = ("secret_manager", "file", "env")
    directory: FilePath = Path("/run/secrets")
    refresh: Duration = 600.0


class SecretManagerFile(FileModel):
    """Google Secret Manager. `endpoint` and `insecure` are for tests."""

    project: ProjectId | None = Field(
        default=None,
        description="by default the first of GOOGLE_CLOUD_PROJECT, GCP_PROJECT, "
        "GOOGLE_CLOUD_PROJECT_ID, GCP_PROJECT_ID and PROJECT_ID that is set",
    )
    endpoint: Endpoint | None = Field(default=None, description="HOST:PORT of another server, for tests")
    insecure: Flag = Field(default=False, description="no TLS and no Google credentials, for tests; needs endpoint")

    @model_validator(mode="after")
    def _for_tests(self) -> Self:
        if self.insecure and self.endpoint is None:
            raise ValueError("is insecure without an endpoint: Google's own takes only TLS")
        return self


class JournalFile(FileModel):
    """Bounds of the journal."""

    max_bytes: Size | None = None
    max_age: Duration | None = None


class PhaseFile(FileModel):
    """Limits of one phase of a run."""

    limit: Duration | None = None
    hung: Duration | None = None
    on_hung: Literal["observe", "dump", "kill"] | None = None


class RunBudgetFile(FileModel):
    """What a run may spend."""

    money: Amount | None = None
    warn: Amount | None = None


class RunsFile(FileModel):
    """Runs: phases and budgets."""

    phases: dict[str, PhaseFile] = Field(default_factory=dict)
    budget: RunBudgetFile | None = None


class FleetFile(FileModel):
    """The shared state of several sidecars."""

    url: str | None = None


class ConfigFile(FileModel):
    """The whole file."""

    listen: ListenFile = ListenFile()
    tls: ListenerTlsFile | None = None
    admin: AdminFile = AdminFile()
    jobs: JobsFile = JobsFile()
    state_dir: FilePath = Field(default_factory=lambda: Path("~/.local/state/blueprint-proxy").expanduser())
    drain: DrainFile = DrainFile()
    secrets: SecretsFile = SecretsFile()
    secret_manager: SecretManagerFile | None = None
    upstreams: dict[Annotated[str, Field(pattern=UPSTREAM_NAME)], UpstreamFile] = Field(default_factory=dict)
    journal: JournalFile | None = None
    runs: RunsFile | None = None
    slo: dict[str, Any] | None = None
    faults: dict[str, Any] | None = None
    fleet: FleetFile | None = None
