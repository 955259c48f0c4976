"""`python -m bench.genie_sim`: what the lane costs: a small call at 60 Hz, and a camera's picture of 6.45 MB.

Direct and through the proxy in turn, against the tests' stand-in. Exit 1 when a target is missed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.genie_sim.client import Caller, camera, object_pose
from support.genie_sim.process import GenieSim
from support.genie_sim.settings import Settings
from support.proxy import RunningProxy

if TYPE_CHECKING:
    from support.genie_sim.client import Question

ROUNDS = 5
SMALL, PICTURES = 60, 6
"""Calls of one round."""
PICTURE = 6.4512
"""Megabytes."""
ADDED = 1.5
"""Milliseconds that a small call may take longer at the median."""
RELAYED = 200.0
"""Megabytes a second: the picture's bytes over the time that the hop adds to it."""
START = 20.0


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        sim = GenieSim(Path(directory, "sim"), settings=Settings(port=0, patched=True))
        config = {"upstreams": {"geniesim": {"kind": "geniesim", "url": sim.url, "endpoint_check": False}}}
        proxy = RunningProxy(Path(directory, "proxy"), config)
        try:
            through = Caller(str(proxy.config["listen"]["grpc"]))
            if not through.ready(START) or through.init_robot() != "success":
                raise RuntimeError("the stand-in does not start")
            ways = {"direct": Caller(sim.address), "through": through}
            small = _medians(ways, object_pose(1), SMALL)
            large = _medians(ways, camera("head"), PICTURES)
        finally:
            proxy.stop()
            sim.kill()
    added = small["through"] - small["direct"]
    hop = large["through"] - large["direct"]
    relayed = PICTURE / hop * 1e3 if hop > 0 else float("inf")
    sys.stdout.write(
        f"small call, 60 Hz: direct {small['direct']:.2f} ms, through {small['through']:.2f} ms, added {added:.2f} ms\n"
        f"picture of {PICTURE} MB: direct {large['direct']:.1f} ms, through {large['through']:.1f} ms, "
        f"{PICTURE / large['through'] * 1e3:.0f} MB/s in all, {relayed:.0f} MB/s of the hop\n"
    )
    return 0 if added <= ADDED and relayed >= RELAYED else 1


def _medians(ways: dict[str, Caller], question: Question, calls: int) -> dict[str, float]:
    """Milliseconds, by way; rounds of the ways alternate, so that the machine's moods meet both."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, caller in ways.items():
            for _ in range(calls):
                began = time.perf_counter()
                if caller.ask(question, 30.0).kind != "right":
                    raise RuntimeError(f"{question.method} {way}: not the right answer")
                took[way].append((time.perf_counter() - began) * 1e3)
    return {way: median(times) for way, times in took.items()}


if __name__ == "__main__":
    sys.exit(main())
