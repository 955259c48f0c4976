"""`python -m bench.guard`: what a guarded function costs: a permit and its settlement, over one kept connection.

Prints the median, the tenth and the ninety-ninth percentile in microseconds; exit 1 when the median is over TARGET.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.proxy import RunningProxy

FUNCTIONS = 3000
TARGET = 1000.0
"""Microseconds, by http.client, which is half of it."""
START = 20.0
"""Seconds in which the admin listener must answer."""


def main() -> int:
    upstreams = {"it": {"kind": "http", "url": "http://127.0.0.1:1"}}
    with tempfile.TemporaryDirectory() as directory:
        proxy = RunningProxy(Path(directory), {"upstreams": upstreams})
        try:
            took = sorted(_measure(proxy)[FUNCTIONS // 10 :])
        finally:
            proxy.stop()
    median, fast, slow = (took[int(len(took) * share)] for share in (0.5, 0.1, 0.99))
    sys.stdout.write(f"a guarded function: median {median:.0f} us, p10 {fast:.0f} us, p99 {slow:.0f} us\n")
    return 0 if median <= TARGET else 1


def _measure(proxy: RunningProxy) -> list[float]:
    host, port = proxy.admin
    connection = HTTPConnection(host, int(port), timeout=START)
    _wait_for(connection)

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer

    took = []
    for _ in range(FUNCTIONS):
        began = time.perf_counter()
        permit = post("/v1/guard/it", {"operation": "f", "timeout_s": 30})["permit"]
        post(f"/v1/guard/it/{permit}", {"outcome": "success"})
        took.append((time.perf_counter() - began) * 1e6)
    connection.close()
    return took


def _wait_for(connection: HTTPConnection) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
