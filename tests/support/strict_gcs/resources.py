"""The JSON that the service answers with. `base` is the scheme and authority by which the request came."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from datetime import datetime

    from support.strict_gcs.model import Bucket, Refused, StoredObject


@dataclass
class Answer:
    """A reply before it is framed."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def json_answer(resource: dict[str, Any], status: int = 200, headers: list[tuple[str, str]] | None = None) -> Answer:
    """A resource as the API sends it: pretty-printed, never to be cached."""
    head = [("Content-Type", "application/json; charset=UTF-8"), ("Cache-Control", "no-cache, no-store, max-age=0")]
    return Answer(status, head + (headers or []), json.dumps(resource, indent=2).encode() + b"\n")


def error_answer(refused: Refused) -> Answer:
    """The API's error document; a 304 has none."""
    if refused.status == 304:
        return Answer(304)
    error = {"message": str(refused), "domain": "global", "reason": refused.reason}
    return json_answer({"error": {"code": refused.status, "message": str(refused), "errors": [error]}}, refused.status)


def bucket_resource(base: str, bucket: Bucket) -> dict[str, Any]:
    """kind storage#bucket."""
    return {
        "kind": "storage#bucket",
        "selfLink": f"{base}/storage/v1/b/{quote(bucket.name, safe='')}",
        "id": bucket.name,
        "name": bucket.name,
        "projectNumber": "1",
        "generation": str(bucket.generation),
        "metageneration": str(bucket.metageneration),
        "location": bucket.settings.get("location") or "US",
        "locationType": "multi-region",
        "storageClass": bucket.settings.get("storageClass") or "STANDARD",
        "timeCreated": _moment(bucket.created),
        "updated": _moment(bucket.created),
        "etag": f"{bucket.generation}",
    }


def object_resource(base: str, stored: StoredObject) -> dict[str, Any]:
    """kind storage#object."""
    where = f"/b/{quote(stored.bucket, safe='')}/o/{quote(stored.name, safe='')}"
    resource = {
        "kind": "storage#object",
        "id": f"{stored.bucket}/{stored.name}/{stored.generation}",
        "selfLink": f"{base}/storage/v1{where}",
        "mediaLink": f"{base}/download/storage/v1{where}?generation={stored.generation}&alt=media",
        "name": stored.name,
        "bucket": stored.bucket,
        "generation": str(stored.generation),
        "metageneration": str(stored.metageneration),
        "size": str(len(stored.content)),
        "crc32c": stored.crc32c,
        "etag": stored.etag,
        "timeCreated": _moment(stored.created),
        "updated": _moment(stored.updated),
        **stored.settings,
    }
    if stored.md5 is not None:
        resource["md5Hash"] = stored.md5
    if stored.components is not None:
        resource["componentCount"] = stored.components
    return resource


def media_headers(stored: StoredObject) -> list[tuple[str, str]]:
    """What a download says of its object; each checksum in a field line of its own, as the service sends them."""
    headers = [
        ("Content-Type", stored.settings.get("contentType") or "application/octet-stream"),
        ("ETag", f'"{stored.etag}"'),
        ("Last-Modified", stored.updated.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        ("Accept-Ranges", "bytes"),
        ("x-goog-generation", str(stored.generation)),
        ("x-goog-metageneration", str(stored.metageneration)),
        ("x-goog-storage-class", stored.settings["storageClass"]),
        ("x-goog-stored-content-encoding", stored.settings.get("contentEncoding") or "identity"),
        ("x-goog-stored-content-length", str(len(stored.content))),
        ("x-goog-hash", f"crc32c={stored.crc32c}"),
    ]
    if stored.md5 is not None:
        headers.append(("x-goog-hash", f"md5={stored.md5}"))
    for resource_name, header in (
        ("contentEncoding", "Content-Encoding"),
        ("contentDisposition", "Content-Disposition"),
        ("contentLanguage", "Content-Language"),
        ("cacheControl", "Cache-Control"),
    ):
        if stored.settings.get(resource_name):
            headers.append((header, stored.settings[resource_name]))
    return headers


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
