"""Kind gcs: the JSON API of Google Cloud Storage; its XML API passes through unrepeated.

What may be repeated follows Google's published retry strategy: always; with a precondition that makes a second execution fail;
never. First version: preconditions in the query; those in a body (an etag in IAM policies and HMAC keys), safe writes, resumed
downloads and transfers that outlive the job are a later issue's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blueprint_proxy.upstreams.kind import Operation, judge_status

if TYPE_CHECKING:
    from blueprint_proxy.http1.heads import RequestHead

_PATH = re.compile(
    rb"(?P<way>/download|/upload|/resumable/upload)?/storage/v1"
    rb"(?:/b(?:/[^/?]+(?:/(?P<part>o|iam|acl|defaultObjectAcl|notificationConfigs|lockRetentionPolicy|[A-Za-z]+)"
    rb"(?:/(?P<item>[^/?]+)(?P<action>/[^?]*)?)?)?)?|/projects/[^/?]+/(?P<project>hmacKeys|serviceAccount)(?:/[^?]*)?)"
    rb"/?(?:\?(?P<query>.*))?$"
)
_INVOCATION = re.compile(rb"gccl-invocation-id/([A-Za-z0-9-]{1,64})")

_READS = frozenset({"GET", "HEAD"})
_GENERATION = b"ifGenerationMatch"
_METAGENERATION = b"ifMetagenerationMatch"

OBJECT_METADATA = frozenset(
    {
        "objects.insert", "objects.insert.chunk", "objects.get", "objects.list", "objects.patch", "objects.update",
        "objects.compose", "objects.copy", "objects.rewrite", "objects.other", "buckets.insert", "buckets.get",
        "buckets.list", "buckets.patch", "buckets.update",
    }
)  # fmt: skip
"""Operations whose replies are resources, with links that lead around the proxy unless they are rewritten."""


class GcsKind:
    """The rules of Google's retry strategy, by operation and query."""

    credential_header = ("authorization", "Bearer {}")
    credential_fields = frozenset({b"authorization"})
    credential_parameters = frozenset({b"access_token"})
    judge = staticmethod(judge_status)

    def operation(self, head: RequestHead, target: bytes) -> Operation:  # noqa: PLR6301 -- a Kind's shape
        sender = head.noted.get(b"x-goog-api-client")
        invocation = _INVOCATION.search(sender) if sender is not None else None
        path = _PATH.match(target)
        if path is None:
            return Operation("batch" if target.startswith(b"/batch") else "xml", repeatable=False)
        name, repeatable = _classify(head.method, path)
        return Operation(name, repeatable, invocation[1] if invocation is not None else None)


def _classify(method: str, path: re.Match[bytes]) -> tuple[str, bool]:
    query = _parameters(path["query"] or b"")
    part, item = path["part"], path["item"]
    if path["way"] in {b"/upload", b"/resumable/upload"}:
        return _upload(method, query)
    if path["project"] is not None:
        name = "hmac_keys" if path["project"] == b"hmacKeys" else "service_account"
        return f"{name}.{method}", method in _READS or method == "DELETE"
    if part is None:
        return _bucket(method, query)
    if part == b"o":
        return ("objects.list", True) if item is None else _object(method, path, query)
    if part == b"iam":
        return f"iam.{method}", method in _READS
    if part == b"lockRetentionPolicy":
        return "buckets.lock_retention_policy", True
    if part == b"notificationConfigs":
        return f"notifications.{method}", method in _READS or method == "DELETE"
    return f"acls.{method}", method in _READS


def _upload(method: str, query: dict[bytes, bytes]) -> tuple[str, bool]:
    if b"upload_id" in query:
        # A chunk says which bytes it holds, and those already stored are ignored: it may be sent again.
        return ("objects.insert.cancel", True) if method == "DELETE" else ("objects.insert.chunk", True)
    return "objects.insert", _GENERATION in query


def _bucket(method: str, query: dict[bytes, bytes]) -> tuple[str, bool]:
    verb = {"GET": "get", "POST": "insert", "DELETE": "delete", "PATCH": "patch", "PUT": "update"}.get(method, "other")
    return f"buckets.{verb}", method in {"GET", "HEAD", "POST", "DELETE"} or _METAGENERATION in query


def _object(method: str, path: re.Match[bytes], query: dict[bytes, bytes]) -> tuple[str, bool]:
    action = path["action"] or b""
    if action.startswith(b"/acl"):
        return f"acls.{method}", method in _READS
    if action:
        verb = action.strip(b"/").partition(b"/")[0]
        name = {b"compose": "compose", b"copyTo": "copy", b"rewriteTo": "rewrite"}.get(verb, "other")
        return f"objects.{name}", _GENERATION in query
    if method in _READS:
        media = path["way"] == b"/download" or query.get(b"alt") == b"media"
        return ("objects.download" if media else "objects.get"), True
    if method == "DELETE":
        return "objects.delete", _GENERATION in query or b"generation" in query
    verb_of = {"PATCH": "patch", "PUT": "update"}
    return f"objects.{verb_of.get(method, 'other')}", _METAGENERATION in query and method in verb_of


def _parameters(query: bytes) -> dict[bytes, bytes]:
    return dict(pair.partition(b"=")[::2] for pair in query.split(b"&")) if query else {}
