"""Kind gcs: the JSON API of Google Cloud Storage; its XML API passes through unrepeated.

What may be repeated follows Google's published retry strategy: always; with a precondition that makes a second
execution fail; never. First version: preconditions in the query; those in a body (an etag in IAM policies and HMAC
keys), safe writes, resumed downloads and transfers that outlive the job are a later issue's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from blueprint_proxy.upstreams.kind import (
    READS,
    UNAUTHORISED,
    Operation,
    bounded,
    judge_status,
    rejects_by_status,
)

if TYPE_CHECKING:
    from blueprint_proxy.http1.heads import RequestHead

_PATH = re.compile(
    rb"(?P<way>/download|/upload|/resumable/upload)?/storage/v1/"
    rb"(?:b(?:/(?P<bucket>[^/?]+)(?:/(?P<part>[A-Za-z]+)(?:/(?P<item>[^/?]+)(?P<action>/[^?]*)?)?)?)?"
    rb"|projects/[^/?]+/(?P<project>hmacKeys|serviceAccount)(?:/[^?]*)?)"
    rb"/?(?:\?(?P<query>.*))?$"
)
_INVOCATION = re.compile(rb"gccl-invocation-id/([A-Za-z0-9-]{1,64})")

_GENERATION = b"ifGenerationMatch"
_METAGENERATION = b"ifMetagenerationMatch"

_BUCKET_METHODS = {
    "GET": "get", "HEAD": "get", "POST": "other", "DELETE": "delete", "PATCH": "patch", "PUT": "update",
}  # fmt: skip
_OBJECT_ACTIONS = {
    b"compose": "compose", b"copyTo": "copy", b"rewriteTo": "rewrite", b"restore": "restore", b"moveTo": "move",
}  # fmt: skip

OBJECT_METADATA = frozenset(
    {
        "objects.insert", "objects.insert.chunk", "objects.get", "objects.list", "objects.patch", "objects.update",
        "objects.compose", "objects.copy", "objects.rewrite", "objects.restore", "objects.move", "buckets.insert",
        "buckets.get", "buckets.list", "buckets.patch", "buckets.update",
    }
)  # fmt: skip
"""Operations whose replies are resources, with links that lead around the proxy unless they are rewritten."""


class GcsKind:
    """The rules of Google's retry strategy, by operation and query."""

    credential_header = ("authorization", "Bearer {}")
    credential_fields = frozenset({b"authorization"})
    credential_parameters = frozenset({b"access_token", b"oauth_token"})
    rejection_statuses = UNAUTHORISED
    rejects_credential = staticmethod(rejects_by_status)
    judge = staticmethod(judge_status)

    def operation(self, head: RequestHead, target: bytes) -> Operation:
        """Name the JSON API's method, and find the id that the SDK gives to all its tries of one call."""
        sender = head.noted.get(b"x-goog-api-client")
        invocation = _INVOCATION.search(sender) if sender is not None else None
        path = _PATH.match(target)
        if path is None:
            return Operation("batch" if target.startswith(b"/batch") else "xml", repeatable=False)
        name, repeatable = _classify(head.method, path)
        return Operation(name, repeatable, invocation[1] if invocation is not None else None)


def _classify(method: str, path: re.Match[bytes]) -> tuple[str, bool]:
    query = _parameters(path["query"] or b"")
    if path["project"] is not None:
        name = "hmac_keys" if path["project"] == b"hmacKeys" else "service_account"
        return f"{name}.{bounded(method)}", method in READS or method == "DELETE"
    if path["way"] in {b"/upload", b"/resumable/upload"}:
        return _upload(method, query)
    part = path["part"]
    if part is None:
        return _bucket(method, path, query)
    return _object(method, path, query) if part == b"o" else _part(method, part)


def _upload(method: str, query: dict[bytes, bytes]) -> tuple[str, bool]:
    if b"upload_id" in query and method in {"PUT", "DELETE"}:
        # A chunk says which bytes it holds, and those already stored are ignored: it may be sent again.
        return ("objects.insert.cancel" if method == "DELETE" else "objects.insert.chunk"), True
    return "objects.insert", bool(query.get(_GENERATION))


def _bucket(method: str, path: re.Match[bytes], query: dict[bytes, bytes]) -> tuple[str, bool]:
    if path["bucket"] is None:
        return ("buckets.list" if method in READS else "buckets.insert"), method in READS or method == "POST"
    verb = _BUCKET_METHODS.get(method, "other")
    conditional = method in {"PATCH", "PUT"} and bool(query.get(_METAGENERATION))
    return f"buckets.{verb}", method in READS or method == "DELETE" or conditional


def _part(method: str, part: bytes) -> tuple[str, bool]:
    """What belongs to a bucket and is no object."""
    if part == b"lockRetentionPolicy":
        return "buckets.lock_retention_policy", True
    if part == b"notificationConfigs":
        return f"notifications.{bounded(method)}", method in READS or method == "DELETE"
    name = {b"iam": "iam", b"acl": "acls", b"defaultObjectAcl": "acls"}.get(part, "other")
    return f"{name}.{bounded(method)}", method in READS


def _object(method: str, path: re.Match[bytes], query: dict[bytes, bytes]) -> tuple[str, bool]:
    if method in READS:
        return _read(path, query), True
    conditional = bool(query.get(_GENERATION))
    if path["item"] is None:
        return ("objects.insert" if method == "POST" else "objects.other"), conditional and method == "POST"
    action = (path["action"] or b"").strip(b"/").partition(b"/")[0]
    if action:
        if method != "POST" or action not in _OBJECT_ACTIONS:
            return ("acls" if action == b"acl" else "objects.other") + f".{bounded(method)}", False
        return f"objects.{_OBJECT_ACTIONS[action]}", conditional
    if method == "DELETE":
        return "objects.delete", conditional or bool(query.get(b"generation"))
    verb_of = {"PATCH": "patch", "PUT": "update"}
    return f"objects.{verb_of.get(method, 'other')}", bool(query.get(_METAGENERATION)) and method in verb_of


def _read(path: re.Match[bytes], query: dict[bytes, bytes]) -> str:
    """The name of a read under /o: media wherever it may be media, whatever the path looks like."""
    if path["way"] == b"/download" or query.get(b"alt") == b"media":
        return "objects.download"
    if path["item"] is None:
        return "objects.list"
    if path["action"] is None:
        return "objects.get"
    return "acls.GET" if path["action"].startswith(b"/acl") else "objects.other.GET"


def _parameters(query: bytes) -> dict[bytes, bytes]:
    """Names and values as the API reads them: both may be escaped."""
    if not query:
        return {}
    pairs = (pair.partition(b"=")[::2] for pair in query.split(b"&"))
    return dict(pairs) if b"%" not in query else {unquote_to_bytes(n): unquote_to_bytes(v) for n, v in pairs}
