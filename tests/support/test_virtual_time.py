"""The virtual clock itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.virtual_time import START, EverythingIsBlockedError, virtual_time


@virtual_time
async def test_an_hour_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(3600)
    assert loop.time() == pytest.approx(START + 3600)


@virtual_time
async def test_timers_fire_in_their_order() -> None:
    order: list[int] = []
    loop = asyncio.get_running_loop()
    loop.call_later(2, order.append, 2)
    loop.call_later(1, order.append, 1)
    await asyncio.sleep(3)
    assert order == [1, 2]


def test_a_wait_that_nothing_ends_fails_instead_of_hanging() -> None:
    @virtual_time
    async def blocked() -> None:
        await asyncio.Event().wait()

    with pytest.raises(EverythingIsBlockedError, match="everything is blocked"):
        blocked()


def test_a_sweep_that_never_ends_anything_does_not_hide_a_blocked_test() -> None:
    @virtual_time
    async def blocked() -> None:
        loop = asyncio.get_running_loop()

        def sweep() -> None:
            loop.call_later(60, sweep)

        sweep()
        await asyncio.Event().wait()

    with pytest.raises(EverythingIsBlockedError, match="only timers"):
        blocked()


@virtual_time
async def test_the_clock_stands_still_while_a_thread_works() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with asyncio.timeout(0.001):
        await loop.run_in_executor(None, time.sleep, 0.02)
    assert loop.time() == before


def test_an_error_in_a_callback_fails_the_test() -> None:
    def broken() -> None:
        raise ValueError("broken")

    @virtual_time
    async def test() -> None:
        asyncio.get_running_loop().call_soon(broken)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="broken"):
        test()
