"""The one place where events go in: each reaches the sinks that asked for its type, in the order in which they asked.

A sink is called on the event loop, inside the call that caused the event. It must be quick and must not raise: a sink
that fails breaks that call, on purpose, since an error hidden here would never be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from blueprint_proxy.telemetry import events

if TYPE_CHECKING:
    from blueprint_proxy.telemetry.events import Event

Sink = Callable[[Any], None]
"""Takes an event of a type that it subscribed to. Any: a sink for one type alone takes only that type."""


class Telemetry:
    """Hands events to sinks: one dict lookup by type, so that an event without a sink costs next to nothing."""

    __slots__ = ("_sinks",)

    def __init__(self) -> None:
        self._sinks: dict[type[Any], tuple[Sink, ...]] = dict.fromkeys(events.ALL, ())

    def emit(self, event: Event) -> None:
        """Hand `event` to its sinks. KeyError for a type that is not in events.ALL."""
        for sink in self._sinks[type(event)]:
            sink(event)

    def subscribe(self, sink: Sink, types: Iterable[type[Any]] = events.ALL) -> Callable[[], None]:
        """Hand every later event of `types` to `sink` too. Returns a function that ends it, and may be called twice."""
        wanted = frozenset(types)
        for kind in wanted:
            self._sinks[kind] += (sink,)

        def unsubscribe() -> None:
            for kind in wanted:
                self._sinks[kind] = tuple(other for other in self._sinks[kind] if other is not sink)

        return unsubscribe
