"""YAML to plain data in which every key keeps its line.

PyYAML's nodes are read here rather than its finished objects: they know their lines, show a key that stands twice, and
leave `on:` and `off` as the words they are in this configuration (YAML 1.1 reads both as booleans).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from blueprint_proxy.config.problems import Problem

KeyPath = tuple[str | int, ...]

MOST_NODES = 50_000
"""An alias that repeats itself a million times is refused here; the largest sensible file has a few thousand nodes."""
DEEPEST = 32

_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp"))
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_QUOTED = re.compile(r"'(?!<)[^']{2,}'")


@dataclass(slots=True)
class Document:
    """A file's data; `lines` gives the line of each key path; `problems` what YAML itself had to say."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Return the line of the key, or of the nearest key around it; 0 where the file has neither."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read_yaml(text: str, file: str) -> Document:
    """Return the document in `text`. Never raises: what cannot be read stands in `problems`."""
    document = Document(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # quoted words are pieces of the file, and a piece of the file may be somebody's password
        what = " ".join(_QUOTED.sub("text", part) for part in (error.context, error.problem) if part)
        document.problems.append(Problem("", file, mark.line + 1 if mark else 0, f"not YAML: {what}"))
    except yaml.YAMLError:
        document.problems.append(Problem("", file, 0, "not YAML: it holds characters that YAML does not allow"))
    except RecursionError:
        document.problems.append(Problem("", file, 0, "not YAML that can be read: nested too deeply"))
    except (ValueError, OverflowError):  # PyYAML lets chr() refuse an escape such as "\UFFFFFFFF"
        document.problems.append(Problem("", file, 0, "not YAML: it escapes a character that does not exist"))
    else:
        if isinstance(node, yaml.MappingNode):
            _Plain(document).read(node)
        elif node is not None and not (isinstance(node, yaml.ScalarNode) and node.value in _NULLS):
            document.problems.append(Problem("", file, node.start_mark.line + 1, "must be a mapping of keys"))
    return document


class _Plain:
    """Turns nodes into plain data, once for one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._nodes = 0

    def read(self, root: yaml.MappingNode) -> None:
        data = self._value(root, ())
        self._document.data = data if isinstance(data, dict) else {}

    def _problem(self, path: KeyPath, node: yaml.Node, message: str) -> None:
        key = ".".join(map(str, path))
        self._document.problems.append(Problem(key, self._document.file, node.start_mark.line + 1, message))

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES or len(path) > DEEPEST:
            if self._nodes <= MOST_NODES + 1:
                self._problem(path, node, "nests or repeats itself too much")
                self._nodes = MOST_NODES + 1
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._document.lines[*path, index] = item.start_mark.line + 1
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, key_node, "a key must be text")
                continue
            key = str(key_node.value)
            if not key.isprintable():
                self._problem(path, key_node, "a key must not hold control characters")
                continue
            if key in data:
                first = self._document.lines[*path, key]
                self._problem((*path, key), key_node, f"stands twice (first on line {first})")
                continue
            self._document.lines[*path, key] = key_node.start_mark.line + 1
            data[key] = self._value(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text = str(node.value)
        if node.tag not in _PLAIN_TAGS:
            self._problem(path, node, "has a YAML tag, and tags are not understood here")
            return None
        if _SURROGATE.search(text):
            self._problem(path, node, "holds half of a character (a lone surrogate)")
            return None
        return text if node.style is not None else plain(text)


def plain(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted word: null, true, false, a decimal number, or the text (YAML 1.2's core)."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
