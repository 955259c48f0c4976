"""Keys of the contract whose features come later. Setting one is a problem until its row here is deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blueprint_proxy.config.reading import KeyPath


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A key path (`*` is any name or index), and the one value that is not built, or None for the key as a whole."""

    path: tuple[str, ...]
    value: str | None = None


def _upstream(*keys: str, value: str | None = None) -> Unbuilt:
    return Unbuilt(("upstreams", "*", *keys), value)


def _operation(*keys: str) -> Unbuilt:
    return _upstream("operations", "*", *keys)


UNBUILT: tuple[Unbuilt, ...] = (
    Unbuilt(("journal",)),
    Unbuilt(("runs",)),
    Unbuilt(("slo",)),
    Unbuilt(("faults",)),
    Unbuilt(("fleet",)),
    _upstream("kind", value="geniesim"),
    _upstream("kind", value="particulate"),
    _upstream("credential", "google"),
    _upstream("safe_writes"),
    _upstream("parallel_download"),
    _upstream("journal"),
    _upstream("buffer_until_complete"),
    _upstream("fallback"),
    _upstream("finish_on_disconnect"),
    _upstream("restart"),
    _upstream("identity"),
    _upstream("allow"),
    _operation("credential"),
    _operation("tls"),
    _operation("safe_writes"),
    _operation("parallel_download"),
    _operation("journal"),
    _operation("buffer_until_complete"),
    _operation("fallback"),
    _operation("finish_on_disconnect"),
    _operation("restart"),
    _operation("identity"),
    _operation("message_limit"),
    _operation("allow"),
)

SERVED_KINDS = frozenset({"http", "gcs", "gemini", "particulate", "grpc"})
"""Kinds that answer calls already; an upstream of another kind is known and not served."""

GOOGLE_ADC = "google adc: not built yet, the job's own credential passes through"


def take_unbuilt(data: dict[str, Any], built_in: dict[str, Any]) -> list[tuple[KeyPath, str | None]]:
    """Take every key that is not built out of `data`; return the paths, with the value where only that is not built.

    An upstream of `built_in` may repeat its own kind: that sets nothing.
    """
    taken = [
        (path, row.value)
        for row in UNBUILT
        for path in _matches(data, row.path, ())
        if row.value is None or (_at(data, path) == row.value and not _repeats(path, row.value, built_in))
    ]
    for path, _ in sorted(taken, key=lambda found: _index(found[0]), reverse=True):  # the last item of a list first
        del _at(data, path[:-1])[path[-1]]
        if path[-2:-1] == ("credential",) and not _at(data, path[:-1]):
            del _at(data, path[:-2])["credential"]
    return taken


def _at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _repeats(path: KeyPath, value: str, built_in: dict[str, Any]) -> bool:
    return path[-1] == "kind" and built_in.get(str(path[1]), {}).get("kind") == value


def _index(path: KeyPath) -> int:
    last = path[-1]
    return last if isinstance(last, int) else -1


def _matches(data: Any, pattern: tuple[str, ...], path: KeyPath) -> Iterator[KeyPath]:
    if not pattern:
        yield path
        return
    head, rest = pattern[0], pattern[1:]
    if isinstance(data, dict):
        for key in data if head == "*" else [head] if head in data else []:
            yield from _matches(data[key], rest, (*path, key))
    elif isinstance(data, list) and head == "*":
        for index, item in enumerate(data):
            yield from _matches(item, rest, (*path, index))
