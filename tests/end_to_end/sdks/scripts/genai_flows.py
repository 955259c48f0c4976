"""Generate, stream and upload with whatever google-genai is installed; the last line printed is JSON.

The only argument is a JSON object: `base_url` and `key` (null where the SDK takes them from the environment), `model`,
`prompt` and `file`, a path.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

from google import genai


def flows(wanted: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if wanted["base_url"]:
        arguments["http_options"] = {"base_url": wanted["base_url"]}
    if wanted["key"]:
        arguments["api_key"] = wanted["key"]
    client = genai.Client(**arguments)
    answer = client.models.generate_content(model=wanted["model"], contents=wanted["prompt"])
    pieces = [
        piece.text for piece in client.models.generate_content_stream(model=wanted["model"], contents=wanted["prompt"])
    ]
    uploaded = client.files.upload(
        file=wanted["file"], config={"mime_type": "model/gltf-binary", "display_name": "scene"}
    )
    found = client.files.get(name=uploaded.name or "")
    client.files.delete(name=uploaded.name or "")
    return {
        "version": version("google-genai"),
        "text": answer.text,
        "finish_reason": str(answer.candidates[0].finish_reason) if answer.candidates else None,
        "pieces": pieces,
        "uploaded": {"name": uploaded.name, "size": uploaded.size_bytes, "sha256": str(uploaded.sha256_hash)},
        "found": {"name": found.name, "uri": found.uri, "state": str(found.state)},
    }


if __name__ == "__main__":
    print(json.dumps(flows(json.loads(sys.argv[1]))))  # noqa: T201 - the test reads it
