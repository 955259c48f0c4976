"""Links by which a reply would lead the job around the proxy: made to lead back to it.

Only at resource level: what users store themselves (an object's custom metadata, its media) is theirs, whatever it
looks like.
"""

from __future__ import annotations

import re

LINK_KEYS = frozenset({b'"mediaLink"', b'"selfLink"'})
LINKED_FIELDS = frozenset({b"location", b"x-goog-upload-url", b"x-goog-upload-control-url"})

_TOKEN = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?|[{}\[\]]', re.DOTALL)


class Links:
    """The addresses of one upstream (`authority` and `base_path`), told apart from all others.

    Google's storage calls itself by an older name in every selfLink; the same paths are served under both.
    """

    def __init__(self, authority: bytes, base_path: bytes) -> None:
        own = rb"(?i:https?://" + re.escape(authority) + rb")" + re.escape(base_path) + rb"(?=[/?]|$)"
        if authority == b"storage.googleapis.com" and not base_path:
            own += rb"|https://www\.googleapis\.com(?=/(?:download/|upload/)?storage/v1/)"
        self._own = re.compile(own)

    def through(self, link: bytes, public_url: bytes) -> bytes:
        """The link by way of `public_url`, if it leads to this upstream; else as it is."""
        own = self._own.match(link)
        return link if own is None else public_url + link[own.end() :]

    def rewrite(self, document: bytes, public_url: bytes) -> bytes:
        """A JSON resource, list of them or rewrite response with its own links led through; all other bytes kept."""
        if b'Link"' not in document:
            return document
        pieces: list[bytes] = []
        copied = 0
        levels: list[tuple[bool, bool]] = []  # for each open container: is it an object, and is it a resource
        keys: list[bytes] = []  # the present key of each
        wanted = False
        for token in _TOKEN.finditer(document):
            string = token[1]
            if string is None:
                wanted = False
                opened = token[0]
                if opened in {b"{", b"["}:
                    levels.append((opened == b"{", opened == b"{" and _holds_resource(levels, keys)))
                    keys.append(b"")
                elif levels:
                    levels.pop()
                    keys.pop()
            elif token[2] is not None and levels:
                keys[-1] = string
                wanted = levels[-1][1] and string in LINK_KEYS
            elif wanted:
                wanted = False
                link = string[1:-1]
                led = self.through(link, public_url)
                if led is not link:
                    pieces += (document[copied : token.start(1) + 1], led)
                    copied = token.end(1) - 1
        return b"".join((*pieces, document[copied:])) if pieces else document


def _holds_resource(levels: list[tuple[bool, bool]], keys: list[bytes]) -> bool:
    """Whether an object that begins here is a resource: the document, one of its items, or what a rewrite made."""
    path = keys[: len(levels)]
    return path in ([], [b'"items"', b""], [b'"resource"'])
