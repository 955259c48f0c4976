"""An event loop whose clock moves only when nothing is left to do.

A test may `await asyncio.sleep(3600)` and be done at once. When nothing is ready and no timer is set, or when only
timers that never end anything are left, the loop raises EverythingIsBlockedError with the tasks that wait, instead of
hanging.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

P = ParamSpec("P")
T = TypeVar("T")

START = 1000.0
"""Loop time, in seconds, at which every virtual loop begins: not zero, so that no time passes for a false value."""
PATIENCE = 24 * 3600.0
"""Virtual seconds after which a test counts as blocked."""
MOST_JUMPS = 200_000
"""Jumps of the clock after which a test counts as blocked: a periodic sweep alone would jump for ever."""
REAL_WAIT = 5.0
"""Real seconds that work in other threads may take."""


class EverythingIsBlockedError(AssertionError):
    """Nothing is ready, and no timer will change that."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Sockets and threads are real, time is not."""

    def __init__(self) -> None:
        self._now = START
        self._jumps = 0
        self._in_threads = 0
        self.failures: list[BaseException | str] = []
        super().__init__(_JumpingSelector(self))
        self.set_exception_handler(VirtualTimeLoop._keep_failure)

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._back_from_thread)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._in_threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._in_threads -= 1

    def _back_from_thread(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    @staticmethod
    def _keep_failure(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        assert isinstance(loop, VirtualTimeLoop)
        loop.failures.append(context.get("exception") or str(context.get("message")))

    def wait(self, inner: selectors.BaseSelector, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What the loop's select does: real events first, then threads, then a jump to the next timer."""
        events = inner.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._in_threads:
            return inner.select(REAL_WAIT)
        if timeout is None:
            raise EverythingIsBlockedError(f"everything is blocked:\n{self._who_waits()}")
        self._jumps += 1
        if self._jumps > MOST_JUMPS or self._now + timeout > START + PATIENCE:
            raise EverythingIsBlockedError(f"only timers are left at {self._now - START:g} s:\n{self._who_waits()}")
        self._now += timeout
        return []

    def _who_waits(self) -> str:
        return "\n".join(sorted(repr(task) for task in asyncio.all_tasks(self)))


class _JumpingSelector(selectors.BaseSelector):
    """A selector that asks the loop what to do when nothing is ready."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self._loop.wait(self._inner, timeout)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Runs an `async def` test on a VirtualTimeLoop; an error that only the loop saw fails the test too."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            result = runner.run(test(*args, **kwargs))
            loop = runner.get_loop()
            assert isinstance(loop, VirtualTimeLoop)
            assert not loop.failures, f"the loop caught what nobody awaited: {loop.failures}"
        return result

    return run
