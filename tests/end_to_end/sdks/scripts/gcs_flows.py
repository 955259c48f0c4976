"""What a job does with Cloud Storage, with whatever google-cloud-storage is installed; the last line printed is JSON.

The only argument is a JSON object: `bucket`, `directory` (for files) and `sdk_retries` (false turns the SDK's own off).
The client is pointed by the environment alone. Every write carries a precondition, so that all of it may be repeated.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import storage  # type: ignore[import-untyped]  # it ships no types

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 256 * 1024
LARGE_CHUNK = 4 * 1024 * 1024
LARGE = 9 * 1024 * 1024 + 1000
"""Above 8 MiB: up to there the SDK sends a file in one request, whatever its chunk size."""


def content(size: int, seed: int) -> bytes:
    """Bytes without a pattern, the same each time."""
    return hashlib.shake_128(bytes([seed])).digest(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Flows:
    def __init__(self, wanted: dict[str, Any]) -> None:
        self.client = storage.Client(project="scenes")
        self.bucket = self.client.bucket(wanted["bucket"])
        self.directory = Path(wanted["directory"])
        self.options: dict[str, Any] = {} if wanted["sdk_retries"] else {"retry": None}
        self.new: dict[str, Any] = {**self.options, "if_generation_match": 0}

    def upload(self) -> dict[str, Any]:
        """In one request, with a name that a careless proxy would decode."""
        blob = self.bucket.blob("scene 7/päth%2Fname+1.json")
        blob.metadata = {"run": "r-1"}
        blob.upload_from_string(b'{"steps": 3}', content_type="application/json", **self.new)
        return {
            "name": blob.name,
            "size": blob.size,
            "media_link": blob.media_link,
            "self_link": blob.self_link,
            "by_media_link": blob.download_as_bytes(**self.options).decode(),
            "by_name": self.bucket.blob(blob.name).download_as_bytes(**self.options).decode(),
        }

    def resumable_upload(self) -> dict[str, Any]:
        """A file in chunks, a stream of unknown length in chunks, and a large file in one piece."""
        known, streamed, large = content(LARGE, 1), content(2 * CHUNK + 77, 2), content(LARGE, 3)
        source = self.directory / "known.usd"
        source.write_bytes(known)
        blob = self.bucket.blob("chunks/known.usd", chunk_size=LARGE_CHUNK)
        blob.upload_from_filename(str(source), **self.new)
        with self.bucket.blob("chunks/streamed.usd").open("wb", chunk_size=CHUNK, **self.new) as writer:
            writer.write(streamed)
        (self.directory / "large.usd").write_bytes(large)
        self.bucket.blob("chunks/large.usd").upload_from_filename(str(self.directory / "large.usd"), **self.new)
        return {
            "sent": {"known": sha256(known), "streamed": sha256(streamed), "large": sha256(large)},
            "crc32c": blob.crc32c,
        }

    def download(self) -> dict[str, Any]:
        """Whole, a part, in chunks to a file, and as a stream."""
        blob = self.bucket.get_blob("chunks/known.usd", **self.options)
        chunked = self.bucket.blob("chunks/known.usd", chunk_size=LARGE_CHUNK)
        target = self.directory / "copy.usd"
        chunked.download_to_filename(str(target), **self.options)
        with self.bucket.blob("chunks/streamed.usd").open("rb", chunk_size=CHUNK, **self.options) as reader:
            streamed = reader.read()
        large = self.bucket.get_blob("chunks/large.usd", **self.options)
        return {
            "whole": sha256(blob.download_as_bytes(**self.options)),
            "part": sha256(blob.download_as_bytes(start=1000, end=1999, **self.options)),
            "part_expected": sha256(content(LARGE, 1)[1000:2000]),
            "chunked": sha256(target.read_bytes()),
            "streamed": sha256(streamed),
            "large": sha256(large.download_as_bytes(**self.options)),
        }

    def listing(self) -> dict[str, Any]:
        """In pages, below a prefix, and with a delimiter; then through a link that a list gave."""
        for number in range(5):
            self.bucket.blob(f"many/{number}").upload_from_string(str(number), **self.new)
        blobs = [*self.client.list_blobs(self.bucket, prefix="many/", page_size=2, **self.options)]
        shallow = self.client.list_blobs(self.bucket, delimiter="/", **self.options)
        names = [blob.name for blob in shallow]
        return {
            "names": [blob.name for blob in blobs],
            "contents": [blob.download_as_bytes(**self.options).decode() for blob in blobs],
            "top": names,
            "prefixes": sorted(shallow.prefixes),
        }

    def change(self) -> dict[str, Any]:
        """Metadata, copies and compositions."""
        blob = self.bucket.get_blob("many/0", **self.options)
        blob.metadata = {"quality": "high"}
        blob.patch(if_metageneration_match=blob.metageneration, **self.options)
        whole = self.bucket.blob("many/all")
        parts = [self.bucket.blob(f"many/{number}") for number in range(3)]
        whole.compose(parts, **self.new)
        copy = self.bucket.blob("many/copy")
        copy.rewrite(whole, **self.new)
        blob.reload(**self.options)
        return {"metadata": blob.metadata, "copy": copy.download_as_bytes(**self.options).decode()}

    def refusals(self) -> dict[str, Any]:
        """What the service refuses reaches the job as the SDK's own errors."""
        met = []
        attempts: list[Callable[[], object]] = [
            lambda: self.bucket.blob("many/1").upload_from_string("again", **self.new),
            lambda: self.bucket.blob("nowhere").download_as_bytes(**self.options),
            lambda: self.bucket.blob("nowhere").reload(**self.options),
        ]
        for attempt in attempts:
            try:
                attempt()
            except (NotFound, PreconditionFailed) as error:
                met.append(type(error).__name__)
        return {"met": met}

    def delete(self) -> dict[str, Any]:
        """Everything that was made."""
        for blob in [*self.client.list_blobs(self.bucket, **self.options)]:
            blob.delete(if_generation_match=blob.generation, **self.options)
        left = [*self.client.list_blobs(self.bucket, **self.options)]
        return {"left": len(left), "exists": self.bucket.blob("many/1").exists(**self.options)}


def main() -> None:
    flows = Flows(json.loads(sys.argv[1]))
    steps = (
        flows.upload,
        flows.resumable_upload,
        flows.download,
        flows.listing,
        flows.change,
        flows.refusals,
        flows.delete,
    )
    results: dict[str, Any] = {step.__name__: step() for step in steps}
    print(json.dumps({"version": version("google-cloud-storage"), **results}))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
