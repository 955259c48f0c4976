"""An upstream in the configuration file, as pydantic models: every key of the contract and its type.

A key that was not set is absent from `model_fields_set`; which value is then in force is for defaults.py to say. A key
without a value (YAML's null) counts as not set; the word `none` is no limit.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from blueprint_proxy.config.values import (
    Amount,
    Count,
    CountOrZero,
    Duration,
    DurationOrZero,
    EnvironmentName,
    FilePath,
    Flag,
    Header,
    OptionalCount,
    OptionalDuration,
    OptionalRate,
    OptionalSize,
    RetryOn,
    SecretId,
    Share,
    Size,
    Url,
)

Kind = Literal["http", "grpc", "geniesim", "gemini", "particulate", "gcs"]
Mode = Literal["enforce", "observe", "off"]
OperationClass = Literal["read_only", "idempotent", "unsafe"]


class FileModel(BaseModel):
    """A mapping of the file: unknown keys are refused, and errors never show what was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UpstreamTlsFile(FileModel):
    """TLS towards an upstream: PEM files. Without `ca` the system's trust store decides."""

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.key is not None and self.cert is None:
            raise ValueError("has a key without a cert")
        return self


class CredentialFile(FileModel):
    """Where an upstream's credential is, and the header that carries it."""

    secret: SecretId | None = Field(
        None, description="id in Secret Manager, with `@VERSION` to pin one; also the file's name in secrets.directory"
    )
    file: FilePath | None = None
    env: EnvironmentName | None = None
    google: Literal["adc"] | None = None
    header: Header | None = Field(None, description='such as "authorization: Bearer {}"; by default the kind\'s own')

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        if not isinstance(value, dict | CredentialFile):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
                "must be none or a mapping of secret, file, env, google, header: "
                "a credential does not stand in the file itself"
            )
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        places = (self.secret, self.file, self.env)
        if self.google is not None and any(place is not None for place in (*places, self.header)):
            raise ValueError("google stands alone, without secret, file, env or header")
        if self.google is None and all(place is None for place in places):
            raise ValueError("names no place: one of secret, file, env or google, or the word none")
        return self


class TimeoutsFile(FileModel):
    """Limits of one attempt's phases: `first_byte` from the request's end, `idle` between two reads of the body."""

    connect: Duration | None = None
    first_byte: OptionalDuration = None
    idle: OptionalDuration = None
    attempt: OptionalDuration = None


class RetryFile(FileModel):
    """Repeats of a failed attempt, with exponential back-off and full jitter. `attempts` counts the first try."""

    attempts: Count | None = None
    base: DurationOrZero | None = None
    cap: Duration | None = None
    on: tuple[RetryOn, ...] | None = None


class RetryBudgetFile(FileModel):
    """How many repeats an upstream is given: a share of its calls, and a number per second that is always allowed."""

    ratio: Amount | None = None
    min: Amount | None = None


class BreakerFile(FileModel):
    """When calls are refused at once. `age` is that of the oldest call in flight without a first byte."""

    window: Duration | None = None
    min_calls: Count | None = None
    failure_ratio: Share | None = None
    slow_call: OptionalDuration = None
    slow_ratio: Share | None = None
    consecutive: Count | None = None
    age: OptionalDuration = None
    open: Duration | None = None
    open_cap: Duration | None = None
    probes: Count | None = None
    probe_lease: Duration | None = None


class ConcurrencyFile(FileModel):
    """Attempts at once, and how many may wait how long for their turn."""

    limit: OptionalCount = None
    queue: CountOrZero | None = None
    queue_timeout: DurationOrZero | None = None


class RateFile(FileModel):
    """Attempts a second, and how many may come at once."""

    per_second: OptionalRate = None
    burst: Count | None = None


class BodyFile(FileModel):
    """Request bodies: bytes kept in memory, then on disk, for a repeat; beyond `limit` refused with 413."""

    memory: Size | None = None
    spool: Size | None = None
    limit: OptionalSize = None


class AllowFile(FileModel):
    """What jobs may do at an upstream."""

    operations: tuple[str, ...] | None = None
    buckets: tuple[str, ...] | None = None
    prefixes: tuple[str, ...] | None = None


class ParallelDownloadFile(FileModel):
    """Large objects in several ranges at once."""

    above: Size | None = None
    ranges: Count | None = None


class RestartFile(FileModel):
    """How a hung simulator is started again."""

    command: tuple[str, ...] | None = None
    signal: str | None = None
    cooldown: Duration | None = None
    per_hour: Count | None = None


class IdentityFile(FileModel):
    """How one start of a simulator is told from the next."""

    pid_file: FilePath | None = None
    container: str | None = None
    command: tuple[str, ...] | None = None


class PolicyFile(FileModel):
    """The keys that an upstream and each of its operations share."""

    credential: CredentialFile | None = Field(None, description="where the credential is, or none")
    mode: Mode | None = None
    deadline: OptionalDuration = None
    timeouts: TimeoutsFile = TimeoutsFile()
    retry: RetryFile = RetryFile()
    retry_budget: RetryBudgetFile = RetryBudgetFile()
    breaker: BreakerFile = BreakerFile()
    concurrency: ConcurrencyFile = ConcurrencyFile()
    rate: RateFile = RateFile()
    body: BodyFile = BodyFile()
    message_limit: Size | None = Field(None, description="bytes of one message of gRPC, either way")
    tls: UpstreamTlsFile = UpstreamTlsFile()
    allow: AllowFile | None = None
    safe_writes: Flag | None = None
    parallel_download: ParallelDownloadFile | None = None
    journal: Literal["off", "rerun", "always", "only"] | None = None
    buffer_until_complete: Flag | None = None
    fallback: tuple[str, ...] | None = None
    finish_on_disconnect: Flag | None = None
    restart: RestartFile | None = None
    identity: IdentityFile | None = None

    @field_validator("credential", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "none" else value


class OperationFile(PolicyFile):
    """What differs for the operations of one pattern."""

    class_: OperationClass | None = Field(None, alias="class")
    unary: Flag | None = Field(None, description="kind grpc: the method takes one message and gives one")


class UpstreamFile(PolicyFile):
    """A service behind the proxy."""

    kind: Kind = "http"
    url: Url
    operations: dict[str, OperationFile] = Field(
        default_factory=dict, description="by PATTERN: a glob over the operation's name, or METHOD /path/glob"
    )

    @field_validator("operations", mode="after")
    @classmethod
    def _patterns(cls, value: dict[str, OperationFile]) -> dict[str, OperationFile]:
        if any(not pattern.strip() or not pattern.isprintable() for pattern in value):
            raise ValueError("has a pattern that is empty or holds control characters")
        return value
