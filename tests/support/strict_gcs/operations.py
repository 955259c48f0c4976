"""What the service does for each operation, and what it answers."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from support.strict_gcs.model import Preconditions, Refused, Store, StoredObject
from support.strict_gcs.requests import json_object
from support.strict_gcs.resources import (
    Answer,
    bucket_resource,
    error_answer,
    json_answer,
    media_headers,
    object_resource,
)
from support.strict_gcs.uploads import add_chunk, cancel, claims_of, finished_answer, multipart_parts, start, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.strict_gcs.requests import Request

PAGE = 1000
"""Objects in a page of a list without maxResults, as the API documents."""

RESOURCE_NAMES = {"crc32c": "crc32c", "md5": "md5Hash"}


def perform(store: Store, request: Request) -> Answer:
    """Carry the operation out, or answer why not."""
    try:
        return _PERFORM[request.operation](store, request)
    except Refused as refused:
        return error_answer(refused)


def _buckets_insert(store: Store, request: Request) -> Answer:
    resource = request.resource()
    if not request.query.get("project") or not isinstance(resource.get("name"), str):
        raise Refused(400, "required", "A bucket needs a project and a name.")
    return json_answer(bucket_resource(request.base, store.create_bucket(resource["name"], resource)))


def _buckets_list(store: Store, request: Request) -> Answer:
    with store.lock:
        items = [bucket_resource(request.base, store.buckets[name]) for name in sorted(store.buckets)]
    return json_answer({"kind": "storage#buckets", "items": items})


def _buckets_get(store: Store, request: Request) -> Answer:
    return json_answer(bucket_resource(request.base, store.bucket(request.bucket, request.conditions())))


def _buckets_delete(store: Store, request: Request) -> Answer:
    store.delete_bucket(request.bucket)
    return Answer(204)


def _objects_list(store: Store, request: Request) -> Answer:
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    with store.lock:
        bucket = store.bucket(request.bucket)
        entries: dict[str, StoredObject | None] = {}
        for name in sorted(bucket.objects):
            if not name.startswith(prefix) or name < request.query.get("startOffset", ""):
                continue
            if request.query.get("endOffset") and name >= request.query["endOffset"]:
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                entries[name[: cut + len(delimiter)]] = None
            else:
                entries[name] = bucket.objects[name]
        after = _page_start(request.query.get("pageToken"))
        names = [name for name in sorted(entries) if name > after]
        size = request.number("maxResults") or PAGE
        page = names[:size]
        resource: dict[str, Any] = {"kind": "storage#objects"}
        if len(names) > size:
            resource["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        prefixes = [name for name in page if entries[name] is None]
        if prefixes:
            resource["prefixes"] = prefixes
        resource["items"] = [
            object_resource(request.base, found) for name in page if (found := entries[name]) is not None
        ]
    return json_answer(resource)


def _page_start(token: str | None) -> str:
    if token is None:
        return ""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise Refused(400, "invalid", "Invalid page token.") from error


def _objects_get(store: Store, request: Request) -> Answer:
    found = store.object(request.bucket, request.name, request.conditions(), request.number("generation"))
    return json_answer(object_resource(request.base, found), headers=[("ETag", found.etag)])


def _objects_media(store: Store, request: Request) -> Answer:
    found = store.object(request.bucket, request.name, request.conditions(), request.number("generation"))
    quoted = f'"{found.etag}"'
    headers = media_headers(found)
    if _names(request.received.header("if-none-match"), quoted):
        return Answer(304, headers)
    if request.received.header("if-match") and not _names(request.received.header("if-match"), quoted):
        raise Refused(412, "conditionNotMet", "If-Match does not hold.")
    wanted = request.received.header("range")
    if_range = request.received.header("if-range")
    if wanted is None or (if_range is not None and if_range != quoted):
        return Answer(200, headers, found.content)
    bounds = _range(wanted, len(found.content))
    if bounds is None:
        return Answer(200, headers, found.content)
    first, last = bounds
    if first > last:
        return Answer(416, [("Content-Range", f"bytes */{len(found.content)}")], b"Requested range not satisfiable")
    headers.append(("Content-Range", f"bytes {first}-{last}/{len(found.content)}"))
    return Answer(206, headers, found.content[first : last + 1])


def _names(condition: str | None, etag: str) -> bool:
    return condition is not None and (
        condition.strip() == "*" or etag in [part.strip() for part in condition.split(",")]
    )


def _range(value: str, size: int) -> tuple[int, int] | None:
    """First and last byte; first > last where nothing satisfies it; None for a form that is to be ignored."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", value.replace(" ", ""))
    if found is None or value.endswith("=-"):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)) if int(last) else size, size - 1
    return int(first), min(int(last) if last else size - 1, size - 1)


def _objects_delete(store: Store, request: Request) -> Answer:
    store.delete_object(request.bucket, request.name, request.conditions(), request.number("generation"))
    return Answer(204)


def _objects_patch(store: Store, request: Request) -> Answer:
    replace = request.operation == "objects.update"
    changed = store.patch_object(
        request.bucket, request.name, request.resource(), request.conditions(), replace=replace
    )
    return json_answer(object_resource(request.base, changed))


def _objects_insert(store: Store, request: Request) -> Answer:
    kind = request.query.get("uploadType")
    content_type = request.received.header("content-type") or ""
    if kind == "multipart":
        resource_part, content_type, content = multipart_parts(request.received.body, content_type)
        resource = json_object(resource_part)
    elif kind == "media":
        resource, content = {}, request.received.body
    else:
        raise Refused(400, "invalid", f"Unknown uploadType: {kind}")
    resource.setdefault("contentType", content_type or None)
    name = request.query.get("name") or resource.get("name")
    if not isinstance(name, str) or not name:
        raise Refused(400, "required", "An object needs a name.")
    made = store.put_object(
        request.bucket,
        name,
        content,
        resource | {RESOURCE_NAMES[kind]: value for kind, value in claims_of(request.received).items()},
        request.conditions(),
        "objects.insert",
    )
    return json_answer(object_resource(request.base, made), headers=[("ETag", made.etag)])


def _objects_copy(store: Store, request: Request) -> Answer:
    with store.lock:
        source = store.object(
            request.bucket,
            request.name,
            request.conditions("ifSource"),
            request.number("sourceGeneration"),
            reading=False,
        )
        resource = {**source.settings, **request.resource()}
        effect = request.operation
        target = request.names["to_bucket"], request.names["to_name"]
        made = store.put_object(*target, source.content, resource, request.conditions(), effect)
    described = object_resource(request.base, made)
    if request.operation == "objects.copy":
        return json_answer(described)
    size = str(len(made.content))
    done = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
    return json_answer({**done, "resource": described})


def _objects_compose(store: Store, request: Request) -> Answer:
    asked = request.resource()
    sources = asked.get("sourceObjects")
    if not isinstance(sources, list) or not 1 <= len(sources) <= 32:
        raise Refused(400, "invalid", "Between 1 and 32 source objects are required.")
    with store.lock:
        content, components = b"", 0
        for source in sources:
            wanted = source.get("objectPreconditions", {}).get("ifGenerationMatch")
            generation = source.get("generation")
            part = store.object(
                request.bucket,
                source["name"],
                Preconditions(None if wanted is None else int(wanted)),
                None if generation is None else int(generation),
                reading=False,
            )
            content += part.content
            components += part.components or 1
        made = store.put_object(
            request.bucket,
            request.name,
            content,
            asked.get("destination", {}),
            request.conditions(),
            "objects.compose",
            components,
        )
    return json_answer(object_resource(request.base, made))


def _uploads_start(store: Store, request: Request) -> Answer:
    resource = request.resource()
    name = request.query.get("name") or resource.get("name")
    if not isinstance(name, str) or not name:
        raise Refused(400, "required", "An object needs a name.")
    resource.setdefault("contentType", request.received.header("x-upload-content-type"))
    return start(store, request.bucket, name, resource, request.conditions(), request.received, request.base)


def _uploads_chunk(store: Store, request: Request) -> Answer:
    upload = store.upload(request.query.get("upload_id", ""))
    finished = add_chunk(store, upload, request.received)
    return finished_answer(request.base, finished) if finished else status(upload)


def _uploads_cancel(store: Store, request: Request) -> Answer:
    return cancel(store, request.query.get("upload_id", ""))


_PERFORM: dict[str, Callable[[Store, Request], Answer]] = {
    "buckets.insert": _buckets_insert,
    "buckets.list": _buckets_list,
    "buckets.get": _buckets_get,
    "buckets.delete": _buckets_delete,
    "objects.list": _objects_list,
    "objects.get": _objects_get,
    "objects.media": _objects_media,
    "objects.delete": _objects_delete,
    "objects.patch": _objects_patch,
    "objects.update": _objects_patch,
    "objects.insert": _objects_insert,
    "objects.copy": _objects_copy,
    "objects.rewrite": _objects_copy,
    "objects.compose": _objects_compose,
    "uploads.start": _uploads_start,
    "uploads.chunk": _uploads_chunk,
    "uploads.status": _uploads_chunk,
    "uploads.cancel": _uploads_cancel,
}
