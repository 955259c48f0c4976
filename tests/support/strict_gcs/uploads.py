"""How the bytes of an object travel: the multipart document of a simple upload, and the chunks of a resumable one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from support.strict_gcs.model import Preconditions, Refused, Store, StoredObject, Upload
from support.strict_gcs.resources import Answer, json_answer, object_resource

if TYPE_CHECKING:
    from support.strict_gcs.received import Received


def multipart_parts(body: bytes, content_type: str) -> tuple[bytes, str, bytes]:
    """The parts of a multipart/related upload: the resource, the content's type, the content. Else Refused 400."""
    found = re.fullmatch(r'multipart/related;\s*boundary="?([^"]+)"?', content_type.strip(), re.IGNORECASE)
    if found is None:
        raise Refused(400, "badContent", f"Not a multipart/related type: {content_type}")
    boundary = b"--" + found.group(1).encode()
    parts = (b"\r\n" + body).split(b"\r\n" + boundary)
    if len(parts) != 4 or parts[3].strip() != b"--" or parts[0].strip():
        raise Refused(400, "badContent", "A multipart upload has exactly two parts and a closing boundary.")
    heads_and_bodies = [part.removeprefix(b"\r\n").partition(b"\r\n\r\n") for part in parts[1:3]]
    lines = heads_and_bodies[1][0].decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return heads_and_bodies[0][2], fields.get("content-type", ""), heads_and_bodies[1][2]


def start(
    store: Store,
    bucket: str,
    name: str,
    resource: dict[str, Any],
    conditions: Preconditions,
    received: Received,
    base: str,
) -> Answer:
    """Open an upload; its session address, in Location, is the only way to it."""
    declared = received.header("x-upload-content-length")
    upload_id = store.start_upload(bucket, name, resource, conditions, int(declared) if declared else None)
    place = f"{base}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
    location = f"{place}?uploadType=resumable&name={quote(name, safe='')}&upload_id={upload_id}"
    return Answer(200, [("Location", location), ("X-GUploader-UploadID", upload_id)])


def chunk_of(received: Received) -> tuple[int | None, bytes, int | None]:
    """Where a chunk begins, its bytes, and the object's length if it is known.

    A beginning of None means that it has no bytes and asks where to go on.
    Without Content-Range the body is the whole object. Refused 400 where the range and the body contradict each other.
    """
    value = received.header("content-range")
    if value is None:
        return 0, received.body, len(received.body)
    found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", value.strip())
    if found is None:
        raise Refused(400, "badRequest", f"Invalid Content-Range: {value}")
    first, last, total = found.groups()
    length = None if total == "*" else int(total)
    if first is None:
        if received.body:
            raise Refused(400, "badRequest", "A status query has no body.")
        return None, b"", length
    if int(last) - int(first) + 1 != len(received.body):
        raise Refused(400, "badRequest", f"{value} does not describe a body of {len(received.body)} bytes.")
    return int(first), received.body, length


def claims_of(received: Received) -> dict[str, str]:
    """The checksums of every `X-Goog-Hash`, base64 by kind."""
    claims = ",".join(received.header_values("x-goog-hash")).split(",")
    pairs = [claim.strip().partition("=") for claim in claims if claim.strip()]
    return {kind: value for kind, _, value in pairs if kind in {"crc32c", "md5"}}


def add_chunk(store: Store, upload: Upload, received: Received) -> StoredObject | None:
    """Take a chunk or a status query in; the object once it is whole, also for everything that comes after."""
    with store.lock:
        first, data, total = chunk_of(received)
        if upload.finished is not None:
            return upload.finished
        if first is not None or total == len(upload.content):
            store.add_to_upload(
                upload, len(upload.content) if first is None else first, data, total, claims_of(received)
            )
        return upload.finished


def status(upload: Upload) -> Answer:
    """308 with what is kept; without Range where nothing is."""
    kept = len(upload.content)
    return Answer(308, [("Range", f"bytes=0-{kept - 1}")] if kept else [])


def finished_answer(base: str, finished: StoredObject) -> Answer:
    """The object's resource, which ends an upload."""
    return json_answer(object_resource(base, finished), headers=[("ETag", finished.etag)])


def cancel(store: Store, upload_id: str) -> Answer:
    """499, the API's word for an upload that its owner gave up."""
    store.cancel_upload(upload_id)
    return Answer(499)
