"""Kind gemini: the Gemini API, v1 and v1beta.

First version: names, what may be repeated, whose fault a failure is, the key. Completeness, quotas per model and the
journal are a later issue's.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from blueprint_proxy.upstreams.kind import READS, Operation, bounded, judge_status

if TYPE_CHECKING:
    from blueprint_proxy.calls import Call, Reply, Verdict
    from blueprint_proxy.http1.heads import RequestHead

_METHOD = re.compile(rb"/(?:v1|v1beta|v1alpha)/[^?]*?/[^/?:]+:([A-Za-z]+)(?:\?|$)")
_COLLECTION = re.compile(rb"/(?:v1|v1beta|v1alpha)/([a-zA-Z]+)(?:/[^?]*)?(?:\?|$)")
_UPLOAD = re.compile(rb"/upload/(?:v1|v1beta|v1alpha)/")

_BAD_KEY = b"API_KEY_INVALID"

_ANSWERS = frozenset({"generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"})
"""Methods that answer and change nothing: each may be asked again, at the price of one more answer."""
_COLLECTIONS = frozenset({b"models", b"files", b"cachedContents", b"tunedModels", b"operations", b"batches"})

_KNOWN = {name: Operation(name, repeatable=True) for name in _ANSWERS}
_OTHER_METHOD = Operation("other", repeatable=False)
_OTHER_READ = Operation("other.GET", repeatable=True)


class GeminiKind:
    """A POST is repeatable where it only answers.

    Of an upload, starting a session and asking for its state may be repeated; a chunk may not, because a lost reply
    leaves open how much of it was stored.
    """

    credential_header = ("x-goog-api-key", "{}")
    credential_fields = frozenset({b"x-goog-api-key", b"authorization"})
    credential_parameters = frozenset({b"key", b"access_token", b"oauth_token"})
    rejection_statuses = frozenset({400, 401})

    def operation(self, head: RequestHead, target: bytes) -> Operation:
        """Name the API's method, or its collection and the HTTP method."""
        called = _METHOD.match(target)
        if called is not None:
            if head.method in READS:
                return _OTHER_READ
            return _KNOWN.get(called[1].decode("ascii"), _OTHER_METHOD)
        if _UPLOAD.match(target):
            return _upload(head)
        collection = _COLLECTION.match(target)
        name = collection[1] if collection is not None and collection[1] in _COLLECTIONS else b"other"
        repeatable = head.method in READS or head.method == "DELETE"
        return Operation(f"{name.decode('ascii')}.{bounded(head.method)}", repeatable)

    def judge(self, call: Call, reply: Reply) -> Verdict:
        """A bad key is a 400 or 403 here, never a 401: no failure of the service (facts/dependencies.md §5)."""
        return judge_status(call, reply)

    def rejects_credential(self, status: int, body: bytes) -> bool:
        """A bad or expired key is a 400 with reason API_KEY_INVALID; a 403 is a key's restriction or a service's."""
        return status == 401 or (_BAD_KEY in body and _names_a_bad_key(body))


def _names_a_bad_key(body: bytes) -> bool:
    """Whether the API's error says so, and not a text that it quotes. A stream's error is in an array."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    for part in document if isinstance(document, list) else [document]:
        error = part.get("error") if isinstance(part, dict) else None
        details = error.get("details") if isinstance(error, dict) else None
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, dict) and detail.get("reason") == "API_KEY_INVALID":
                return True
    return False


def _upload(head: RequestHead) -> Operation:
    command = (head.fields.get(b"x-goog-upload-command") or b"").lower()
    if command == b"start":
        return Operation("files.upload.start", repeatable=True)
    if command == b"query":
        return Operation("files.upload.query", repeatable=True)
    return Operation("files.upload", repeatable=False)
