"""The one table that turns a refusal into an answer."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from blueprint_proxy.errors import STATUSES
from blueprint_proxy.http1.fields import Fields

if TYPE_CHECKING:
    from blueprint_proxy.errors import Refusal

PHRASES = {
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large", 414: b"URI Too Long",
    417: b"Expectation Failed", 421: b"Misdirected Request", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported", 508: b"Loop Detected",
}  # fmt: skip


def answer(refusal: Refusal, *, upstream: str, request_id: str) -> tuple[int, bytes, Fields, bytes]:
    """Status, phrase, fields and body of a refusal.

    The body has the shape of Google's APIs, which is also this proxy's own, so that every SDK finds code, status and
    message.
    """
    status, name = refusal.status, STATUSES[refusal.reason][1]
    error: dict[str, object] = {
        "code": status,
        "status": name,
        "message": f"blueprint-proxy: {refusal.message}",
        "reason": refusal.reason.value,
        "upstream": upstream,
        "request_id": request_id,
    }
    fields: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"x-blueprint-error", refusal.reason.value.encode("ascii")),
        (b"x-blueprint-source", b"proxy"),
        (b"x-blueprint-attempts", b"%d" % refusal.attempts),
        (b"x-request-id", request_id.encode("ascii")),
        *refusal.headers,
    ]
    if upstream:
        fields.append((b"x-blueprint-upstream", upstream.encode("ascii")))
    if refusal.sent is False:
        fields.append((b"x-blueprint-not-sent", b"true"))
    elif refusal.sent:
        fields.append((b"x-blueprint-maybe-executed", b"true"))
    if refusal.retry_after is not None:
        seconds = max(0.0, refusal.retry_after)
        error["retry_after_s"] = round(seconds, 3)
        fields.append((b"retry-after", b"%d" % math.ceil(seconds)))
    return status, PHRASES.get(status, b"Error"), Fields.of(fields), json.dumps({"error": error}).encode()
