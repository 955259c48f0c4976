"""The value types of configuration keys: how each is read, what is said of a wrong one, and its JSON Schema."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from blueprint_proxy.config.addresses import Address, UpstreamUrl, parse_address, parse_url
from blueprint_proxy.config.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration, parse_size

FAULT_WORDS = frozenset({"connect", "reset", "timeout"})
_FRAMING = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect"}
)
_NONE = {"const": "none"}
_ID_PATTERN = r"[A-Za-z0-9_-]{1,255}(?:@[1-9][0-9]{0,17})?"
PROJECT_PATTERN = r"(?:[a-z0-9.-]{1,100}:)?[a-z0-9-]{1,63}"
_ENDPOINT = r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})|unix:/.{1,200}"
_DURATION_SCHEMA: list[dict[str, Any]] = [
    {"type": "string", "pattern": DURATION_PATTERN},
    {"type": "number", "minimum": 0},
]
_SIZE_SCHEMA: list[dict[str, Any]] = [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 0}]


def _positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("must be more than zero")
    return seconds


def _duration_or_none(value: object) -> float | None:
    return None if value == "none" else _positive_duration(value)


def _size_or_none(value: object) -> int | None:
    return None if value == "none" else parse_size(value)


def _count_or_none(value: object) -> int | None:
    if value == "none":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("must be a whole number of at least 1, or none")


def _rate_or_none(value: object) -> float | None:
    if value == "none":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    raise ValueError("must be a number above 0, or none")


def _retry_on(value: object) -> int | str:
    if isinstance(value, str) and value in FAULT_WORDS:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    raise ValueError("must be a status from 400 to 599, or connect, reset or timeout")


def _header(value: object) -> tuple[str, str]:
    """Return (lower-case name, template) of `NAME: text {}`; a wrong text is not repeated, it may be a literal key."""
    match = re.fullmatch(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ ]?([\x20-\x7e]*\{\}[\x20-\x7e]*)", str(value), re.ASCII)
    if not isinstance(value, str) or match is None or value.count("{}") != 1:
        raise ValueError('must be a header line with one {} where the value goes, such as "authorization: Bearer {}"')
    if match[1].lower() in _FRAMING:
        raise ValueError("must not be a header of the connection or of the message's framing")
    return match[1].lower(), match[2]


def _path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and there is no home directory") from None


def _environment_name(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", value, re.ASCII):
        return value
    raise ValueError("must be the name of an environment variable (its name, not its value)")


def _secret_id(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(_ID_PATTERN, value, re.ASCII):
        return value
    raise ValueError("must be a secret's id, letters, digits, - and _, with @N for a version (its id, not its value)")


def _project(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(PROJECT_PATTERN, value, re.ASCII):
        return value
    raise ValueError("must be the id or number of a Google Cloud project")


def _endpoint(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(_ENDPOINT, value, re.ASCII):
        return value
    raise ValueError("must be HOST:PORT or unix:/path, without a scheme")


def _signal(value: object) -> str:
    name = value.upper() if isinstance(value, str) else ""
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in signal.Signals.__members__:
        return name
    raise ValueError("must be the name of a signal, such as SIGKILL")


Duration = Annotated[float, BeforeValidator(_positive_duration), WithJsonSchema({"anyOf": _DURATION_SCHEMA})]
DurationOrZero = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema({"anyOf": _DURATION_SCHEMA})]
OptionalDuration = Annotated[
    float | None,
    BeforeValidator(_duration_or_none),
    WithJsonSchema({"anyOf": [*_DURATION_SCHEMA, _NONE]}),
]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({"anyOf": _SIZE_SCHEMA})]
OptionalSize = Annotated[int | None, BeforeValidator(_size_or_none), WithJsonSchema({"anyOf": [*_SIZE_SCHEMA, _NONE]})]
Count = Annotated[int, Field(strict=True, ge=1, le=10**9)]
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=10**9)]
OptionalCount = Annotated[
    int | None,
    BeforeValidator(_count_or_none),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _NONE]}),
]
OptionalRate = Annotated[
    float | None,
    BeforeValidator(_rate_or_none),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _NONE]}),
]
Share = Annotated[float, Field(strict=True, gt=0, le=1)]
Amount = Annotated[float, Field(strict=True, ge=0, le=1e9)]
Flag = Annotated[bool, Field(strict=True)]
RetryOn = Annotated[
    int | str,
    PlainValidator(_retry_on),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 400, "maximum": 599}, {"enum": sorted(FAULT_WORDS)}]}),
]
Header = Annotated[
    tuple[str, str], PlainValidator(_header), WithJsonSchema({"type": "string", "pattern": r"^[^: ]+: ?.*\{\}.*$"})
]
SignalName = Annotated[str, PlainValidator(_signal), WithJsonSchema({"type": "string", "pattern": "^(SIG)?[A-Z0-9]+$"})]
FilePath = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
EnvironmentName = Annotated[
    str, PlainValidator(_environment_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
]
SecretId = Annotated[str, PlainValidator(_secret_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID_PATTERN}$"})]
ProjectId = Annotated[
    str, PlainValidator(_project), WithJsonSchema({"type": "string", "pattern": f"^{PROJECT_PATTERN}$"})
]
Endpoint = Annotated[str, PlainValidator(_endpoint), WithJsonSchema({"type": "string", "pattern": f"^{_ENDPOINT}$"})]
ListenAddress = Annotated[
    Address, PlainValidator(parse_address), PlainSerializer(str), WithJsonSchema({"type": "string"})
]
Url = Annotated[
    UpstreamUrl,
    PlainValidator(parse_url),
    WithJsonSchema({"type": "string", "pattern": "^(https?://|grpcs?://|unix:)"}),
]
