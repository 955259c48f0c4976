"""The last line of defence for log lines: what looks like a credential, or is a registered one, is masked.

The first line is that no event and no error holds one. This is for the case where that failed, such as a library's own
message that quotes a URL.
"""

from __future__ import annotations

import re
from urllib.parse import quote

MASK = "[redacted]"

MOST_REGISTERED = 256
"""Values kept, newest first: a rotated key may still be in flight, one from 256 keys ago is not."""

SHORTEST = 4
"""A shorter value is not registered: masking it would shred every line and tell its length and place."""

_CREDENTIAL_NAME = re.compile(r"auth|key|token|secret|password|passwd|credential|cookie|signature", re.IGNORECASE)

_IN_STRINGS = (
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{4,}", re.IGNORECASE), rf"\1 {MASK}"),
    # name=value and "name": "value", in queries, fields and bodies; an upload_id is as good as a key to the upload.
    # What we say of a configuration's key (`jobs.token: must be`) is no value.
    (
        re.compile(
            r"""((?:api[-_]?key|token|secret|password|passwd|credential|signature|authorization|\bkey|\bsig|\bupload_id)
                 ["']?\s*[=:]\s*["']?)
                (?!\[redacted\]|(?:must|unknown|configured,)\s)[^\s&"',;}]+""",
            re.IGNORECASE | re.VERBOSE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\bAIza[\w-]{10,}"), MASK),  # Google API keys: 39 characters, cut ones too
    (re.compile(r"\bya29\.[\w.-]+"), MASK),  # Google access tokens
    (re.compile(r"(://)[^/\s@]+@"), rf"\1{MASK}@"),  # user:password of a URL
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"), MASK),
)


class Redactor:
    """Masks credentials in text and in nested values. One per process; secrets register their values as they load."""

    def __init__(self) -> None:
        self._registered: dict[str, None] = {}
        self._exact: re.Pattern[str] | None = None

    def register_secret(self, value: str) -> None:
        """Mask `value`, as it is and percent-encoded, wherever it appears from now on."""
        if len(value) < SHORTEST:
            return
        self._registered.pop(value, None)
        self._registered[value] = None
        if len(self._registered) > MOST_REGISTERED:
            self._registered.pop(next(iter(self._registered)))
        forms = {form for known in self._registered for form in (known, quote(known, safe=""))}
        self._exact = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """Give `text` with every credential masked."""
        if self._exact is not None:
            text = self._exact.sub(MASK, text)
        for pattern, replacement in _IN_STRINGS:
            text = pattern.sub(replacement, text)
        return text

    def value(self, value: object, name: str = "") -> object:
        """Give `value` with every credential in it masked, at any depth. `name` is the key under which it stands.

        Numbers pass whatever their name (a count of tokens is no token), and so does a name ending in `_id`.
        """
        if isinstance(value, str):
            looks_like_one = _CREDENTIAL_NAME.search(name) and not name.endswith("_id")
            return MASK if looks_like_one and value else self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(inner, name) for inner in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(str(value))

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._registered)} secrets>"
