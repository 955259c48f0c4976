"""From a request to the operation of the API that it asks for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from support.strict_gcs.model import Preconditions, Refused

if TYPE_CHECKING:
    from support.strict_gcs.received import Received


@dataclass(frozen=True)
class Request:
    """An operation with its parts decoded: `names` are the path's, `query` has the last value of each parameter."""

    operation: str
    names: dict[str, str]
    query: dict[str, str]
    received: Received
    base: str

    @property
    def bucket(self) -> str:
        """The bucket in the path."""
        return self.names["bucket"]

    @property
    def name(self) -> str:
        """The object in the path, decoded."""
        return self.names["name"]

    def number(self, parameter: str) -> int | None:
        """A numeric parameter; Refused 400 where it is none."""
        value = self.query.get(parameter)
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,19}", value):
            raise Refused(400, "invalid", f"Invalid value for {parameter}: {value}")
        return int(value)

    def conditions(self, prefix: str = "if") -> Preconditions:
        """`ifGenerationMatch` and its kin, or `ifSource...` with the prefix `ifSource`."""
        names = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return Preconditions(*(self.number(prefix + name) for name in names))

    def resource(self) -> dict[str, Any]:
        """The JSON object in the body; an empty body is an empty one."""
        return json_object(self.received.body)


def json_object(body: bytes) -> dict[str, Any]:
    """Decode a resource; Refused 400 where it is none."""
    try:
        decoded = json.loads(body or b"{}")
    except ValueError as error:
        raise Refused(400, "parseError", "The request body is not JSON.") from error
    if not isinstance(decoded, dict):
        raise Refused(400, "parseError", "The request body is not a JSON object.")
    return decoded


_OBJECT = r"/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
_ROUTES = [
    (method, re.compile(path), operation)
    for method, path, operation in (
        ("POST", r"/storage/v1/b", "buckets.insert"),
        ("GET", r"/storage/v1/b", "buckets.list"),
        ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)", "buckets.get"),
        ("DELETE", r"/storage/v1/b/(?P<bucket>[^/]+)", "buckets.delete"),
        ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o", "objects.list"),
        ("GET", r"/storage/v1" + _OBJECT, "objects.get"),
        ("GET", r"/download/storage/v1" + _OBJECT, "objects.media"),
        ("DELETE", r"/storage/v1" + _OBJECT, "objects.delete"),
        ("PATCH", r"/storage/v1" + _OBJECT, "objects.patch"),
        ("PUT", r"/storage/v1" + _OBJECT, "objects.update"),
        ("POST", r"/storage/v1" + _OBJECT + "/compose", "objects.compose"),
        ("POST", r"/storage/v1" + _OBJECT + "/copyTo/b/(?P<to_bucket>[^/]+)/o/(?P<to_name>[^/]+)", "objects.copy"),
        (
            "POST",
            r"/storage/v1" + _OBJECT + "/rewriteTo/b/(?P<to_bucket>[^/]+)/o/(?P<to_name>[^/]+)",
            "objects.rewrite",
        ),
        ("POST", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o", "objects.insert"),
        ("PUT", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o", "uploads.chunk"),
        ("DELETE", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o", "uploads.cancel"),
    )
]


def recognise(received: Received, base: str) -> Request | None:
    """The operation that a request asks for, or None where the API has no such thing."""
    path, _, raw_query = received.target.partition("?")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    for method, pattern, operation in _ROUTES:
        found = pattern.fullmatch(path)
        if found is None or method != ("GET" if received.method == "HEAD" else received.method):
            continue
        if operation == "objects.insert" and query.get("uploadType") == "resumable":
            operation = "uploads.start"  # noqa: PLW2901 - one path serves two operations
        elif operation == "uploads.chunk" and (received.header("content-range") or "").startswith("bytes */"):
            operation = "uploads.status"  # noqa: PLW2901 - one path serves two operations
        elif operation == "objects.get" and query.get("alt") == "media":
            operation = "objects.media"  # noqa: PLW2901 - one path serves two operations
        names = {key: unquote(value) for key, value in found.groupdict().items()}
        return Request(operation, names, query, received, base)
    return None
