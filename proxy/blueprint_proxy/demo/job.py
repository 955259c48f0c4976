"""The demo's job: it dresses a small scene, with Google's SDKs as they come.

    python -m blueprint_proxy.demo.job DIRECTORY

It knows nothing of the proxy but the addresses in its environment. It writes one JSON line a call to the standard
output, what it received to DIRECTORY, and exits 0 only if every call succeeded and every content is right.

google-genai repeats nothing by itself. google-cloud-storage would, so the calls here say `retry=None`: what goes well
goes well because of the proxy. Only the download of the mesh keeps its retry: the SDK resumes a body that broke off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import requests
from google import genai
from google.api_core.exceptions import GoogleAPIError
from google.cloud import storage  # type: ignore[attr-defined,import-untyped,unused-ignore]
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # type: ignore[import-untyped]
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS = ("mug", "kettle", "cutting board", "drawer", "cereal box", "sponge", "lamp", "chair")
MODEL = "gemini-2.5-flash"
MESH_BYTES = 3 * 1024 * 1024 + 517  # not a multiple of the chunk, so that the last one is short
CHUNK = 4 * 256 * 1024
RESUMES_WITHIN = 20.0  # seconds; the SDK would go on for 120
CALLS = 8 + len(OBJECTS) + 3


class WrongContentError(Exception):
    """What came back is not what it should be."""


SURFACING = (
    GoogleAPIError,
    DataCorruption,
    InvalidResponse,
    requests.RequestException,
    genai.errors.APIError,
    httpx2.HTTPError,
    WrongContentError,
    OSError,
    ValueError,  # an answer that is not what the SDK can read
)


@dataclasses.dataclass
class Diary:
    """One line for each call; times in seconds of the machine's monotonic clock."""

    failed: int = 0

    @contextlib.contextmanager
    def call(self, upstream: str, name: str) -> Iterator[None]:
        """Note one call; a failure is written down and the job goes on to its next call."""
        began = time.monotonic()
        error: str | None = None
        try:
            yield
        except SURFACING as problem:
            self.failed += 1
            error = f"{type(problem).__name__}: {problem}"[:300]
        self.write(upstream=upstream, call=name, began=began, ended=time.monotonic(), error=error)

    def write(self, **line: Any) -> None:
        """Write one JSON line."""
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def expect(right: bool, what: str) -> None:  # noqa: FBT001 - it reads as an assertion
    """Raise WrongContentError unless `right`."""
    if not right:
        raise WrongContentError(what)


def store_the_scene(diary: Diary, place: Path) -> None:
    """Put a manifest and a mesh into a bucket, fetch, list and delete them again: google-cloud-storage."""
    mesh = b"glTF" + random.Random(7).randbytes(MESH_BYTES - 4)  # noqa: S311 - bytes to carry, nothing to guess
    manifest = json.dumps({"scene": "kitchen-01", "objects": OBJECTS, "sha256": hashlib.sha256(mesh).hexdigest()})
    client = storage.Client(project="blueprint-demo")
    bucket = client.bucket("blueprint-demo-scenes")
    with diary.call("gcs", "create the bucket"):
        client.create_bucket(bucket, retry=None)
    with diary.call("gcs", "upload manifest.json if new"):
        bucket.blob("kitchen-01/manifest.json").upload_from_string(
            manifest, content_type="application/json", if_generation_match=0, retry=None
        )
    with diary.call("gcs", "upload scene.glb, resumable"):
        blob = bucket.blob("kitchen-01/scene.glb", chunk_size=CHUNK)
        blob.upload_from_file(io.BytesIO(mesh), content_type="model/gltf-binary", retry=None)
    with diary.call("gcs", "metadata of scene.glb"):
        blob = bucket.blob("kitchen-01/scene.glb")
        blob.reload(retry=None)
        expect(blob.size == MESH_BYTES, f"{blob.size} bytes are stored, not {MESH_BYTES}")
    with diary.call("gcs", "download scene.glb"):
        received = blob.download_as_bytes(retry=DEFAULT_RETRY.with_timeout(RESUMES_WITHIN))
        (place / "scene.glb").write_bytes(received)
        expect(received == mesh, "the mesh that came back differs")
    with diary.call("gcs", "download manifest.json"):
        text = bucket.blob("kitchen-01/manifest.json").download_as_bytes(retry=None).decode()
        (place / "manifest.json").write_text(text)
        expect(text == manifest, "the manifest that came back differs")
    with diary.call("gcs", "list the scene"):
        names = [found.name for found in client.list_blobs(bucket, prefix="kitchen-01/", retry=None)]
        expect(names == ["kitchen-01/manifest.json", "kitchen-01/scene.glb"], f"the listing is {names}")
    with diary.call("gcs", "delete scene.glb"):
        bucket.blob("kitchen-01/scene.glb").delete(retry=None)


def describe_the_objects(diary: Diary, place: Path) -> None:
    """Ask for each object's physics, stream a summary, upload a picture and delete it again: google-genai."""
    with genai.Client() as client:
        for number, name in enumerate(OBJECTS):
            prompt = f"Mass in kg and friction of this object in a kitchen: {name}. Answer in JSON."
            with diary.call("gemini", f"physics of the {name}"):
                answer = client.models.generate_content(
                    model=MODEL, contents=prompt, config={"response_mime_type": "application/json"}
                )
                (place / f"physics-{number}.json").write_text(answer.model_dump_json())
                expect(_is_about(answer.text, prompt), "the answer belongs to another question")
        with diary.call("gemini", "stream a summary"):
            prompt = "Describe the kitchen in a sentence for each of these: " + ", ".join(OBJECTS)
            chunks = list(client.models.generate_content_stream(model=MODEL, contents=prompt))
            (place / "summary.json").write_text("\n".join(chunk.model_dump_json() for chunk in chunks))
            expect("".join(chunk.text or "" for chunk in chunks).endswith(prompt), "the summary is not whole")
            expect(len(chunks) > 1, "the stream came as one piece")
        picture = random.Random(8).randbytes(300_000)  # noqa: S311 - bytes to carry, nothing to guess
        name = ""
        with diary.call("gemini", "upload a picture"):
            uploaded = client.files.upload(file=io.BytesIO(picture), config={"mime_type": "image/png"})
            (place / "picture.json").write_text(uploaded.model_dump_json())
            expect(uploaded.size_bytes == len(picture), f"{uploaded.size_bytes} bytes arrived, not {len(picture)}")
            name = uploaded.name or ""
        with diary.call("gemini", "delete the picture"):
            client.files.delete(name=name)


def _is_about(text: str | None, prompt: str) -> bool:
    found = json.loads(text or "{}").get("prompt_sha256")
    return bool(found == hashlib.sha256(prompt.encode()).hexdigest())


def main() -> int:
    """Do the whole job; 0 if all of it went well."""
    place = Path(sys.argv[1])
    diary = Diary()
    diary.write(calls=CALLS)
    store_the_scene(diary, place)
    describe_the_objects(diary, place)
    return 1 if diary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
