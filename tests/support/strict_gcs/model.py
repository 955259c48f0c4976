"""What a storage service knows: buckets, objects with their generations, and uploads under way. No HTTP here."""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_UNIT = 256 * 1024
"""Every chunk of a resumable upload but the last is a multiple of this, by the API's own rule."""

WRITABLE = ("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "metadata")


class Refused(Exception):
    """The service's no: `status` and the API's one-word `reason`."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Preconditions:
    """The four conditions of the API, None where the request names none. A generation of 0: "does not exist"."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    def check(self, current: StoredObject | Bucket | None, *, reading: bool = False) -> None:
        """Raise Refused 412, or 304 for a read whose "not" condition fails."""
        generation = 0 if current is None else current.generation
        metageneration = 0 if current is None else current.metageneration
        if self.generation not in {None, generation} or self.metageneration not in {None, metageneration}:
            raise Refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        if self.not_generation == generation or self.not_metageneration == metageneration:
            raise Refused(304 if reading else 412, "conditionNotMet", "A not-match condition did not hold.")


NO_CONDITION = Preconditions()


@dataclass(eq=False)
class StoredObject:
    """One live object. `settings` holds the writable fields of its resource; checksums are base64, as the API's."""

    bucket: str
    name: str
    content: bytes = field(repr=False)
    generation: int
    settings: dict[str, Any]
    components: int | None = None
    metageneration: int = 1
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.crc32c = crc32c_of(self.content)
        self.md5 = None if self.components is not None else md5_of(self.content)

    @property
    def etag(self) -> str:
        """Changes with every generation and metageneration, as the API's does."""
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()


@dataclass(eq=False)
class Bucket:
    """One bucket and its live objects by name."""

    name: str
    generation: int
    settings: dict[str, Any]
    metageneration: int = 1
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    objects: dict[str, StoredObject] = field(default_factory=dict)


@dataclass(eq=False)
class Upload:
    """A resumable upload: what has been kept so far, and the object once it is whole."""

    bucket: str
    name: str
    settings: dict[str, Any]
    conditions: Preconditions
    total: int | None
    content: bytearray = field(default_factory=bytearray, repr=False)
    finished: StoredObject | None = None
    cancelled: bool = False


def crc32c_of(content: bytes) -> str:
    """Base64 of the big-endian crc32c."""
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def md5_of(content: bytes) -> str:
    """Base64 of the MD5 digest."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


class Store:
    """The service's whole state. Every method is one step under one lock; `effects` counts the changes made."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buckets: dict[str, Bucket] = {}
        self.uploads: dict[str, Upload] = {}
        self.effects: Counter[str] = Counter()
        self._generations: Iterator[int] = itertools.count(1_700_000_000_000_001)

    def create_bucket(self, name: str, settings: dict[str, Any]) -> Bucket:
        """A new, empty bucket; Refused 409 when it exists."""
        with self.lock:
            if name in self.buckets:
                raise Refused(409, "conflict", f"You already own the bucket {name}.")
            self.buckets[name] = Bucket(name, next(self._generations), settings)
            self.effects["buckets.insert"] += 1
            return self.buckets[name]

    def bucket(self, name: str, conditions: Preconditions = NO_CONDITION) -> Bucket:
        """The bucket, or Refused 404."""
        with self.lock:
            found = self.buckets.get(name)
            if found is None:
                raise Refused(404, "notFound", f"The specified bucket does not exist: {name}")
            conditions.check(found, reading=True)
            return found

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket; Refused 409 while it holds an object."""
        with self.lock:
            if self.bucket(name).objects:
                raise Refused(409, "conflict", "The bucket you tried to delete is not empty.")
            del self.buckets[name]
            self.effects["buckets.delete"] += 1

    def object(
        self,
        bucket: str,
        name: str,
        conditions: Preconditions = NO_CONDITION,
        generation: int | None = None,
        *,
        reading: bool = True,
    ) -> StoredObject:
        """The live object, or Refused: 404 where none has that name and generation, 304 or 412 for the conditions."""
        with self.lock:
            found = self.bucket(bucket).objects.get(name)
            if found is None or generation not in {None, found.generation}:
                raise Refused(404, "notFound", f"No such object: {bucket}/{name}")
            conditions.check(found, reading=reading)
            return found

    def put_object(
        self,
        bucket: str,
        name: str,
        content: bytes,
        resource: dict[str, Any],
        conditions: Preconditions,
        effect: str,
        components: int | None = None,
    ) -> StoredObject:
        """A new generation of this object. Refused 412 for the conditions, 400 where a claimed checksum is wrong."""
        with self.lock:
            home = self.bucket(bucket)
            conditions.check(home.objects.get(name))
            settings = {key: resource[key] for key in WRITABLE if resource.get(key) is not None}
            settings["storageClass"] = resource.get("storageClass") or "STANDARD"
            made = StoredObject(bucket, name, content, next(self._generations), settings, components)
            check_checksum("crc32c", resource.get("crc32c"), made.crc32c)
            check_checksum("md5", resource.get("md5Hash"), made.md5)
            home.objects[name] = made
            self.effects[effect] += 1
            return made

    def delete_object(self, bucket: str, name: str, conditions: Preconditions, generation: int | None) -> None:
        """Remove the live object."""
        with self.lock:
            self.object(bucket, name, conditions, generation, reading=False)
            del self.bucket(bucket).objects[name]
            self.effects["objects.delete"] += 1

    def patch_object(
        self, bucket: str, name: str, changes: dict[str, Any], conditions: Preconditions, *, replace: bool
    ) -> StoredObject:
        """A new metageneration: `changes` merged (null removes), or in place of what was there with `replace`."""
        with self.lock:
            found = self.object(bucket, name, conditions, reading=False)
            settings = {"storageClass": found.settings["storageClass"]} if replace else dict(found.settings)
            for key in WRITABLE:
                if key not in changes:
                    continue
                value = changes[key]
                if key == "metadata" and isinstance(value, dict) and not replace:
                    merged = {**settings.get("metadata", {}), **value}
                    value = {name: text for name, text in merged.items() if text is not None}
                if value is None:
                    settings.pop(key, None)
                else:
                    settings[key] = value
            found.settings = settings
            found.metageneration += 1
            found.updated = datetime.now(UTC)
            self.effects["objects.patch"] += 1
            return found

    def start_upload(
        self, bucket: str, name: str, resource: dict[str, Any], conditions: Preconditions, total: int | None
    ) -> str:
        """A new resumable upload's id. The conditions are checked now and again when it is whole."""
        with self.lock:
            conditions.check(self.bucket(bucket).objects.get(name))
            upload_id = secrets.token_urlsafe(24)
            self.uploads[upload_id] = Upload(bucket, name, resource, conditions, total)
            self.effects["uploads.start"] += 1
            return upload_id

    def upload(self, upload_id: str) -> Upload:
        """The upload under way or finished; Refused 404 for an id never given, 410 for a cancelled one."""
        with self.lock:
            found = self.uploads.get(upload_id)
            if found is None:
                raise Refused(404, "notFound", "No such upload session.")
            if found.cancelled:
                raise Refused(410, "gone", "This upload session was cancelled.")
            return found

    def cancel_upload(self, upload_id: str) -> None:
        """Forget an unfinished upload."""
        with self.lock:
            self.upload(upload_id).cancelled = True
            self.effects["uploads.cancel"] += 1

    def add_to_upload(
        self, upload: Upload, first: int, data: bytes, total: int | None, checksums: dict[str, str]
    ) -> None:
        """Keep bytes from offset `first` on, and finish the object when `total` of them are there.

        Bytes that are already kept are accepted again only if they are the same. Refused 400 for a gap, for a length
        that contradicts what was declared, for a chunk that is no multiple of 256 KiB before the end, and for a wrong
        checksum.
        """
        with self.lock:
            kept = len(upload.content)
            if first > kept:
                raise Refused(400, "badRequest", f"A gap: the chunk begins at {first}, {kept} bytes are kept.")
            if total is not None and upload.total is not None and total != upload.total:
                raise Refused(400, "badRequest", f"The length was declared as {upload.total}, now as {total}.")
            end = first + len(data)
            if total is None and len(data) % CHUNK_UNIT:
                raise Refused(400, "badRequest", "A chunk before the last must be a multiple of 256 KiB.")
            if total is not None and (end > total or (end < total and len(data) % CHUNK_UNIT)):
                raise Refused(400, "badRequest", f"A chunk that ends at {end} of {total} is not acceptable.")
            if upload.content[first:end] != data[: kept - first]:
                raise Refused(400, "badRequest", "Bytes that were already kept came again with other content.")
            if end > kept:
                upload.content += data[kept - first :]
                self.effects["uploads.chunk"] += 1
            if total is not None and len(upload.content) == total and upload.finished is None:
                content = bytes(upload.content)
                check_checksum("crc32c", checksums.get("crc32c"), crc32c_of(content))
                check_checksum("md5", checksums.get("md5"), md5_of(content))
                upload.finished = self.put_object(
                    upload.bucket, upload.name, content, upload.settings, upload.conditions, "objects.insert"
                )

    def keep_part(self, upload: Upload, first: int, data: bytes) -> None:
        """Keep some bytes of a chunk that is about to fail, as the service may."""
        with self.lock:
            if first == len(upload.content):
                upload.content += data


def check_checksum(kind: str, claimed: str | None, actual: str | None) -> None:
    """Refused 400 where a checksum was claimed and is another."""
    if claimed and actual and claimed != actual:
        raise Refused(400, "invalid", f"Provided {kind} hash {claimed} does not match the calculated one.")
