"""Leads the links in replies back through the proxy, so that stock SDKs do not go around it after the first call."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.upstreams.links import LINKED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blueprint_proxy.calls import Call, Next, Reply
    from blueprint_proxy.upstreams.links import Links

LARGEST = 64 * 1024 * 1024
"""Bytes of a metadata reply that can be held: a page of 1000 objects with their ACLs is about 5 MiB."""
AT_ONCE = 256 * 1024
"""Bytes scanned on the loop (some 5 ms); a larger document is scanned in a thread."""

_ACCEPT_ENCODING = frozenset({b"accept-encoding"})
_CONTENT_LENGTH = frozenset({b"content-length"})
_HAS_LINK = re.compile(rb"(?im:^(?:" + b"|".join(sorted(LINKED_FIELDS)) + rb"):)")


class LeadLinksBack:
    """Rewrites linked fields of every reply, and the JSON of the operations named in `resources`.

    A resource's reply is read whole before it counts as a success, so a metadata reply that is cut short is a failed
    attempt, not a broken answer.
    """

    def __init__(self, following: Next, *, links: Links, resources: frozenset[str]) -> None:
        self._next = following
        self._links = links
        self._resources = resources

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Pass on everything but resources as it comes."""
        return self._resource(call) if call.operation in self._resources else self._fields(call)

    async def _fields(self, call: Call) -> Reply:
        reply = await self._next(call)
        reply.headers = self._led(reply.headers, call.public_url)
        return reply

    async def _resource(self, call: Call) -> Reply:
        # A compressed document cannot be scanned as it passes.
        plain = call.headers.without(_ACCEPT_ENCODING).plus((b"Accept-Encoding", b"identity"))
        reply = await self._next(call.with_headers(plain))
        reply.headers = self._led(reply.headers, call.public_url)
        if reply.status >= 300 or not _is_json(reply.headers):
            return reply
        if call.method == "HEAD":
            reply.headers = reply.headers.without(_CONTENT_LENGTH)  # a GET's would be another one
            return reply
        document = reply.body if isinstance(reply.body, bytes) else await reply.body.whole(LARGEST)
        if document is None:
            if not isinstance(reply.body, bytes):
                reply.body.abandon()
            raise Refusal(
                Reason.TOO_LARGE,
                f"upstream {call.upstream}, {call.operation}: a metadata reply of more than {LARGEST} bytes",
                status=502,
                sent=None if call.repeatable else True,
            )
        if len(document) > AT_ONCE:
            reply.body = await asyncio.to_thread(self._links.rewrite, document, call.public_url)
        else:
            reply.body = self._links.rewrite(document, call.public_url)
        reply.headers = reply.headers.without(_CONTENT_LENGTH)
        reply.framed = False
        return reply

    def _led(self, headers: Fields, public_url: bytes) -> Fields:
        if _HAS_LINK.search(headers.raw) is None:
            return headers
        return Fields.of(
            (name, self._links.through(value, public_url)) if name.lower() in LINKED_FIELDS else (name, value)
            for name, value in headers
        )


def _is_json(headers: Fields) -> bool:
    return b"json" in (headers.get(b"content-type") or b"").lower()
