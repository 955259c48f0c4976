"""`python -m bench`: install what is missing, measure every stack, print the report. Exit 0, 1 or 2 (usage).

1: a stack could not be installed, started or measured without an error, or a target is missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.install import CACHE, install
from bench.measure import FULL, QUICK, measure
from bench.processes import BenchError
from bench.report import render, verdicts
from bench.stacks import STACKS

if TYPE_CHECKING:
    from types import FrameType

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
LIMIT_S = 480  # of the whole measurement, installing not counted


def _stop(number: int, _: FrameType | None) -> None:
    # An exception, so that every program started is stopped on the way out.
    reason = f"not done within {LIMIT_S} s" if number == signal.SIGALRM else f"stopped by signal {number}"
    raise SystemExit(f"bench: {reason}")


def main() -> int:
    names = [stack.name for stack in STACKS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of 2 s a load, for development")
    parser.add_argument("--write", action="store_true", help=f"write the report to {RESULTS.name} too")
    parser.add_argument("--stacks", nargs="+", choices=names, default=names, help="only these")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, _stop)
    plan = QUICK if options.quick else FULL
    try:
        install()
        CACHE.mkdir(parents=True, exist_ok=True)
        signal.alarm(LIMIT_S)
        with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as directory:
            results = measure([stack for stack in STACKS if stack.name in options.stacks], plan, Path(directory))
        signal.alarm(0)
        text = render(results, plan)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(text)
    if options.write:
        RESULTS.write_text(text)
    missed = [one.subject for one in verdicts(results) if not one.met]
    for subject in missed:
        sys.stderr.write(f"bench: target missed: {subject}\n")
    return 1 if results.failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
