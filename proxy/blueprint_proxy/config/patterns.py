"""PATTERN of `operations`: a glob over the name, or `METHOD /path/glob`; and which of two is more specific."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import total_ordering

_METHOD_PATH = re.compile(r"([A-Z]+|\*) (/.*)")
_WILD = re.compile(r"\[!?\]?[^\]]*\]|[*?]")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """One compiled pattern. Of two, the greater is the more specific.

    `*` matches any characters, slashes too, `?` one, `[...]` one of a set. A pattern with method and path is more
    specific than one over the name; then one with more literal characters; then one that stands later in the file.
    """

    text: str
    position: int
    method: str | None
    literals: int
    expression: re.Pattern[str]

    @classmethod
    def parse(cls, text: str, position: int) -> Pattern:
        """Return the pattern in `text`, the `position`th of its upstream."""
        match = _METHOD_PATH.fullmatch(text)
        glob = match[2] if match else text
        method = match[1] if match else None
        literals = len(_WILD.sub("", glob)) + (len(method) if method is not None and method != "*" else 0)
        return cls(text, position, method, literals, re.compile(translate(glob)))

    @property
    def over_path(self) -> bool:
        """Whether method and path decide, and not the operation's name."""
        return self.method is not None

    def matches(self, name: str, method: str, path: str) -> bool:
        """Whether an operation called `name`, sent as `method` to the raw `path` without its query, is meant."""
        if self.method is None:
            return self.expression.match(name) is not None
        return self.method in {"*", method} and self.expression.match(path) is not None

    @property
    def _rank(self) -> tuple[bool, int, int]:
        return self.over_path, self.literals, self.position

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and (self.text, self.position) == (other.text, other.position)

    def __hash__(self) -> int:
        return hash((self.text, self.position))

    def __lt__(self, other: Pattern) -> bool:
        return self._rank < other._rank
