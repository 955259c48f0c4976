"""A stand-in for the Gemini API, close enough for the google-genai SDK: generation, streams, embeddings, file upload.

    python -m blueprint_proxy.demo.gemini --port 0 --faults '[{"kind": "throttle", "retry_delay": 0.8}]'

Answers are made from the prompt alone, so a caller can tell a right one from a wrong one: see `answer_text`. Shapes
follow the public API reference; errors carry the google.rpc details that the SDKs read. Over 300 lines because one
API's answers are easier to follow on one page.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from blueprint_proxy.demo.hosting import DEMO_KEY, serve_as_process
from blueprint_proxy.demo.stand_in import StandIn
from blueprint_proxy.demo.wire import Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blueprint_proxy.demo.faults import Fault

MODELS = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001")
GRANULARITY = 256 * 1024  # bytes; every chunk of an upload but the last is a multiple of it
_ROUTE = re.compile(r"/(upload/)?(v1|v1beta)/(models|files)(?:/([^/:]+))?(?::(\w+))?")
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def answer_text(prompt: str, *, as_json: bool = False) -> str:
    """Answer a prompt: quote it, or with `as_json` give an object with the prompt's SHA-256."""
    if not as_json:
        return f"You said: {prompt}"
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    return json.dumps({"prompt_sha256": digest, "mass_kg": int(digest[:4], 16) / 10_000, "friction": 0.5})


@dataclasses.dataclass(slots=True)
class _Upload:
    described: dict[str, Any]
    received: bytearray = dataclasses.field(default_factory=bytearray)
    file: dict[str, Any] | None = None


class GeminiStandIn(StandIn):
    """The API on one address.

    A request must carry `key` in x-goog-api-key or `?key=`, but for the chunks of an upload, whose address is its own
    credential. `pause` is the time between two events of a stream, in seconds.
    """

    name = "gemini"

    def __init__(
        self,
        *,
        faults: Iterable[Fault] = (),
        key: str = DEMO_KEY,
        port: int = 0,
        only_through_proxy: bool = False,
        pause: float = 0.02,
    ) -> None:
        super().__init__(faults=faults, key=key, port=port, only_through_proxy=only_through_proxy)
        self._pause = pause
        self._uploads: dict[str, _Upload] = {}
        self._files: dict[str, dict[str, Any]] = {}

    def presented_key(self, request: Request) -> str | None:
        """Read the key from the header, else from the query."""
        return super().presented_key(request) or _query(request).get("key")

    def failure(self, status: int, message: str, *, retry_delay: float | None = None) -> Response:
        """Give google.rpc.Status as JSON; a throttle names quota and delay in its details, not in a header."""
        error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS_NAMES.get(status, "UNKNOWN")}
        if retry_delay is not None:
            error["details"] = _quota_details(retry_delay)
        return json_response({"error": error}, status)

    async def answer(self, request: Request) -> Response:
        """Route and answer one request."""
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            return self.failure(404, f"no such path: {request.path}")
        upload, version, collection, name, method = route.groups()
        if upload and "upload_id" in _query(request):
            return self._take_chunk(request)
        if self.presented_key(request) != self._key:
            return _bad_key()
        if collection == "files":
            return self._start_upload(request, version) if upload else self._about_file(request, name)
        if request.method == "GET":
            return self._about_model(name)
        return self._use_model(name, method, request)

    def _about_model(self, name: str | None) -> Response:
        models = [{"name": f"models/{model}", "displayName": model, "version": "001"} for model in MODELS]
        if name is None:
            return json_response({"models": models})
        found = next((model for model in models if model["name"] == f"models/{name}"), None)
        return json_response(found) if found else self.failure(404, f"models/{name} is not found")

    def _use_model(self, model: str | None, method: str | None, request: Request) -> Response:
        if model is None or model not in MODELS:
            return self.failure(404, f"models/{model} is not found")
        body = _json_object(request.body)
        if body is None:
            return self.failure(400, "the request body is not a JSON object")
        if method == "streamGenerateContent":
            return self._stream(model, body, as_events=_query(request).get("alt") == "sse")
        answers: dict[str | None, Callable[[], dict[str, Any]]] = {
            "generateContent": lambda: _candidate(model, _text_for(body), body, last=True),
            "countTokens": lambda: {"totalTokens": _tokens(_prompt(body))},
            "embedContent": lambda: {"embedding": {"values": _vector(_prompt(body))}},
            "batchEmbedContents": lambda: {
                "embeddings": [{"values": _vector(_prompt(one))} for one in body["requests"]]
            },
        }
        if method not in answers:
            return self.failure(404, f"no such method: {method}")
        return json_response(answers[method]())

    def _stream(self, model: str, body: dict[str, Any], *, as_events: bool) -> Response:
        words = re.findall(r"\S+\s*", _text_for(body))
        size = max(1, len(words) // 4)
        parts = ["".join(words[at : at + size]) for at in range(0, len(words), size)]
        pieces = [
            json.dumps(_candidate(model, part, body, last=number == len(parts))).encode()
            for number, part in enumerate(parts, 1)
        ]
        if as_events:
            events = [b"data: " + piece + b"\r\n\r\n" for piece in pieces]
            return Response(200, (("Content-Type", "text/event-stream"),), events, self._pause)
        array = [(b"[" if number == 0 else b",\r\n") + piece for number, piece in enumerate(pieces)]
        return Response(200, (("Content-Type", "application/json; charset=UTF-8"),), [*array, b"]"], self._pause)

    def _start_upload(self, request: Request, version: str) -> Response:
        command = request.header("x-goog-upload-command")
        if request.header("x-goog-upload-protocol") != "resumable" or command != "start":
            return self.failure(400, "only resumable uploads are known here")
        asked = (_json_object(request.body) or {}).get("file", {})  # the SDK writes its names with underscores
        described = {
            "displayName": asked.get("displayName") or asked.get("display_name"),
            "mimeType": request.header("x-goog-upload-header-content-type"),
        }
        number = f"{len(self._uploads) + 1:012d}"
        self._uploads[number] = _Upload(described)
        url = f"http://{request.header('host')}/upload/{version}/files?upload_id={number}&upload_protocol=resumable"
        return Response(
            200,
            (
                ("X-Goog-Upload-Status", "active"),
                ("X-Goog-Upload-URL", url),
                ("X-Goog-Upload-Control-URL", url),
                ("X-Goog-Upload-Chunk-Granularity", str(GRANULARITY)),
            ),
        )

    def _take_chunk(self, request: Request) -> Response:
        number = _query(request)["upload_id"]
        upload = self._uploads.get(number)
        if upload is None:
            return self.failure(404, "no such upload")
        commands = {command.strip() for command in request.header("x-goog-upload-command").split(",")}
        if "query" in commands or upload.file is not None:
            return self._upload_state(upload)
        if "upload" in commands:
            offset = int(request.header("x-goog-upload-offset", "0"))
            if offset != len(upload.received):
                return self.failure(400, f"{len(upload.received)} bytes are stored, not {offset}")
            upload.received += request.body
        if "finalize" in commands:
            content = bytes(upload.received)
            upload.file = self._files[f"file{number}"] = {
                "name": f"files/file{number}",
                **{name: value for name, value in upload.described.items() if value},
                "sizeBytes": str(len(content)),
                "createTime": "2026-11-01T00:00:00Z",
                "updateTime": "2026-11-01T00:00:00Z",
                "expirationTime": "2026-11-03T00:00:00Z",
                "sha256Hash": base64.b64encode(hashlib.sha256(content).hexdigest().encode()).decode(),
                "uri": f"{self.url}/v1beta/files/file{number}",
                "state": "ACTIVE",
            }
        return self._upload_state(upload)

    def _upload_state(self, upload: _Upload) -> Response:
        received = ("X-Goog-Upload-Size-Received", str(len(upload.received)))
        if upload.file is None:
            return Response(200, (("X-Goog-Upload-Status", "active"), received))
        return json_response({"file": upload.file}, headers=(("X-Goog-Upload-Status", "final"), received))

    def _about_file(self, request: Request, name: str | None) -> Response:
        if name is None:
            return json_response({"files": list(self._files.values())})
        if name not in self._files:
            return self.failure(403, f"you do not have permission to access the file {name}, or it does not exist")
        if request.method == "DELETE":
            del self._files[name]
            return json_response({})
        return json_response(self._files[name])


def _query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _prompt(body: dict[str, Any]) -> str:
    contents = body.get("contents") or [body.get("content", {})]
    return "".join(part.get("text", "") for content in contents for part in content.get("parts", []))


def _text_for(body: dict[str, Any]) -> str:
    as_json = body.get("generationConfig", {}).get("responseMimeType") == "application/json"
    return answer_text(_prompt(body), as_json=as_json)


def _tokens(text: str) -> int:
    return len(text) // 4 + 1


def _vector(text: str) -> list[float]:
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def _candidate(model: str, text: str, body: dict[str, Any], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    prompt, said = _tokens(_prompt(body)), _tokens(text)
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": said,
            "totalTokenCount": prompt + said,
        },
        "modelVersion": model,
        "responseId": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def _quota_details(retry_delay: float) -> list[dict[str, Any]]:
    types = "type.googleapis.com/google.rpc."
    return [
        {
            "@type": f"{types}QuotaFailure",
            "violations": [
                {
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                    "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
                    "quotaDimensions": {"model": MODELS[0], "location": "global"},
                    "quotaValue": "10",
                }
            ],
        },
        {
            "@type": f"{types}Help",
            "links": [{"description": "Gemini API quotas", "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}],
        },
        {"@type": f"{types}RetryInfo", "retryDelay": f"{retry_delay:g}s"},
    ]


def _bad_key() -> Response:
    message = "API key not valid. Please pass a valid API key."
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
    said = {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message}
    error = {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": [info, said]}
    return json_response({"error": error}, 400)


def main() -> None:
    """Run the stand-in as a process."""
    serve_as_process(
        "gemini",
        lambda faults, key, port, only_through_proxy: GeminiStandIn(
            faults=faults, key=key, port=port, only_through_proxy=only_through_proxy
        ),
    )


if __name__ == "__main__":
    main()
