"""The ways to run a function: under permits, or as it is."""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from blueprint_clients.external_services.calls import CURRENT, CurrentCall
from blueprint_clients.external_services.outcomes import (
    MAY_REPEAT,
    REJECTED,
    SUCCESS,
    UNKNOWN,
    Outcome,
    of_exception,
    of_result,
)
from blueprint_clients.notices import say_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from blueprint_clients.external_services.guard import Guard, Permit


class Ended(NamedTuple):
    """How a call ended: `error` is what the last run raised, else `result` is what it returned."""

    result: Any
    error: Exception | None
    outcome: Outcome
    attempts: int
    reason: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the last run was a success."""
        return self.outcome.kind == SUCCESS


def as_it_is(func: Callable[[], Any], current: CurrentCall) -> Ended:
    """Run it once, without asking anybody."""
    return _run(func, current, 1)


def guarded(
    func: Callable[[], Any], current: CurrentCall, guard: Guard, *, run: str | None, repeatable: bool | None
) -> Ended:
    """Run it under a permit, and again for as long as the sidecar gives another.

    Raises the sidecar's refusal of the first permit, or SidecarUnreachable; the function has not been run then.
    """
    permit = guard.permit(run=run, repeatable=repeatable)
    while True:
        give_back = _GiveBack(guard, permit)
        try:
            ended = _run(func, current._replace(give_back=give_back), permit.attempt)
        except BaseException as left:  # KeyboardInterrupt, SystemExit: nobody waits for an answer, but a place is held
            if not give_back.given:
                guard.settle(permit, Outcome(UNKNOWN, message=type(left).__name__))
            raise
        if give_back.given:
            return ended
        if isinstance(ended.result, GeneratorType):
            say_once(
                f"generator {guard.upstream}",
                "a function guarded for %r returns a generator: what it does when it is read is not guarded",
                guard.upstream,
            )
        verdict = guard.settle(permit, ended.outcome)
        if verdict.again is None or ended.outcome.kind not in MAY_REPEAT:
            return ended._replace(reason=verdict.reason)
        permit = verdict.again


class _GiveBack:
    """Ends a permit early, once: `given` says whether it has."""

    def __init__(self, guard: Guard, permit: Permit) -> None:
        self._guard = guard
        self._permit = permit
        self.given = False

    def __call__(self) -> None:
        if not self.given:
            self.given = True
            self._guard.settle(self._permit, Outcome(REJECTED, sent=False, message="through"))


def _run(func: Callable[[], Any], current: CurrentCall, attempt: int) -> Ended:
    watched = _Watched()
    token = CURRENT.set(current)
    try:
        with watched:
            result = func()
            if isinstance(result, (CoroutineType, AsyncGeneratorType)):
                raise _not_awaited(result)
            return Ended(result, None, of_result(result), attempt)
    finally:
        CURRENT.reset(token)
    error = watched.error
    if error is None:
        raise RuntimeError("a function ended neither with a result nor with an exception")
    return Ended(None, error, of_exception(error), attempt)


def _not_awaited(result: CoroutineType[Any, Any, Any] | AsyncGeneratorType[Any, Any]) -> TypeError:
    name = result.__qualname__
    if isinstance(result, CoroutineType):
        result.close()  # not begun: else Python warns that it was never awaited
    return TypeError(f"call() takes a plain function, and {name} is asynchronous: nothing of it has been run")


class _Watched:
    """Keeps the exception that a block ended with; whatever is not an Exception passes."""

    error: Exception | None = None

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False
