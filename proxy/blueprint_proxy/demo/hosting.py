"""Where a stand-in runs: in a thread beside a test, or in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from blueprint_proxy.demo.faults import Fault, faults_from, faults_from_json
from blueprint_proxy.demo.stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

S = TypeVar("S", bound=StandIn)
DEMO_KEY = "demo-key"


@contextlib.contextmanager
def threaded(stand_in: S) -> Iterator[S]:
    """Run a stand-in on an event loop in a thread until the block ends; it listens when the block begins."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=stand_in.name, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(stand_in.start(), loop).result()
        yield stand_in
    finally:
        asyncio.run_coroutine_threadsafe(stand_in.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def serve_as_process(name: str, build: Callable[[list[Fault], str, int, bool], StandIn]) -> None:
    """Be a stand-in's command line: the first line of output is its address; SIGTERM or SIGINT ends it.

    With `--held-by-stdin` the settings come as the first line of the standard input, a JSON object (`key`, `faults`,
    `only_through_proxy`), so that no key stands in a process list, and the end of that input ends the process: no
    stand-in outlives whoever started it.
    """
    parser = argparse.ArgumentParser(prog=f"python -m blueprint_proxy.demo.{name}")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=DEMO_KEY, help="the key that requests must carry")
    parser.add_argument("--key-file", type=Path, help="a file that holds the key instead")
    parser.add_argument(
        "--faults", default="[]", help='JSON, as in \'[{"kind": "status", "status": 503, "times": 2}]\''
    )
    parser.add_argument("--only-through-proxy", action="store_true", help="refuse requests without a Via field")
    parser.add_argument("--held-by-stdin", action="store_true", help="settings from, and life bound to, standard input")
    options = parser.parse_args()
    if options.held_by_stdin:
        settings = json.loads(sys.stdin.readline())
        stand_in = build(
            list(faults_from(settings.get("faults", []))),
            settings.get("key", options.key),
            options.port,
            settings.get("only_through_proxy", False),
        )
    else:
        key = options.key if options.key_file is None else options.key_file.read_text(encoding="utf-8").strip()
        stand_in = build(faults_from_json(options.faults), key, options.port, options.only_through_proxy)
    asyncio.run(_until_told(stand_in, watch_stdin=options.held_by_stdin))


async def _until_told(stand_in: StandIn, *, watch_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if watch_stdin:
        threading.Thread(target=_tell_at_end_of_input, args=(loop, told), daemon=True).start()
    async with stand_in:
        sys.stdout.write(f"{stand_in.url}\n")
        sys.stdout.flush()
        await told.wait()


def _tell_at_end_of_input(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    sys.stdin.read()
    with contextlib.suppress(RuntimeError):  # the loop has ended first
        loop.call_soon_threadsafe(told.set)
