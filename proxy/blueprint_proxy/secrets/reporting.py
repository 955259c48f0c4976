"""What an operator hears of the secrets' state as a whole: once for each, and again when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint_proxy.telemetry.events import SecretsFellBack, SecretsKept, SecretsLoaded, SecretsMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blueprint_proxy.secrets.held import HeldSecret
    from blueprint_proxy.telemetry.events import Event


class SecretsReport:
    """Remembers what it said last of each sort of trouble. Words name ids, places and reasons, never a value."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._told: dict[type[Event], tuple[str, ...]] = {}

    def forget(self) -> None:
        """Say everything anew, after a change of the configuration."""
        self._told.clear()

    def tell(self, secrets: Iterable[HeldSecret], now: float, *, refresh: float, first: bool) -> None:
        """Say what has changed. The age of kept values is said again after each `refresh` seconds."""
        loaded = [held for held in secrets if held.loaded.is_set()]
        here = [held for held in loaded if held.value is not None]
        missing = [held for held in loaded if held.value is None]
        fell_back = [held for held in here if held.found and held.passing]
        kept = [held for held in here if not held.found]
        age = max((now - held.read_at for held in kept), default=0.0)
        in_trouble = bool(self._told)
        if self._is_news(SecretsMissing, _ids(missing)):
            self._emit(SecretsMissing(tuple(f"{held.id} (looked in {held.why})" for held in missing)))
        if self._is_news(SecretsFellBack, _ids(fell_back)):
            self._emit(SecretsFellBack(tuple(f"{held.id} is from {held.origin}, not {held.why}" for held in fell_back)))
        if self._is_news(SecretsKept, (*_ids(kept), str(age // refresh)) if kept else ()):
            self._emit(SecretsKept(tuple(f"{held.id} from {held.origin}, with {held.why}" for held in kept), age))
        if here and (first or (in_trouble and not self._told)):
            self._emit(SecretsLoaded(tuple(f"{held.id} from {held.origin}" for held in here)))

    def _is_news(self, kind: type[Event], what: tuple[str, ...]) -> bool:
        """Whether this is worth saying: it is something, and not what was said last."""
        if not what:
            self._told.pop(kind, None)
            return False
        before, self._told[kind] = self._told.get(kind), what
        return what != before


def _ids(some: Iterable[HeldSecret]) -> tuple[str, ...]:
    return tuple(held.id for held in some)
