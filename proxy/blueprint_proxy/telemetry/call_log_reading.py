"""The call log as its readers have it: its files in order, the calls that were asked for, and one line for a person."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = "calls"
"""The folder under state_dir."""

HEADING = f"{'began':<24}{'outcome':<14}{'status':>6}{'tries':>6}{'seconds':>10}{'queued':>8}  call"

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls are asked for; None asks for all. `run` is its name or how that begins, `since` in unix seconds."""

    upstream: str | None = None
    outcome: str | None = None
    run: str | None = None
    since: float | None = None

    def includes(self, call: dict[str, Any]) -> bool:
        """Say whether `call` is one of them."""
        return (
            (self.upstream is None or call.get("upstream") == self.upstream)
            and (self.outcome is None or call.get("outcome") == self.outcome)
            and (self.run is None or str(call.get("run", "")).startswith(self.run))
            and (self.since is None or call["at"] >= self.since)
        )


def call_files(directory: Path) -> list[tuple[int, Path]]:
    """Every file of the call log with its number, the oldest first; none where there is no such directory."""
    found = []
    for path in directory.glob("calls-*.jsonl"):
        number = path.stem.removeprefix("calls-")
        if number.isdecimal():
            found.append((int(number), path))
    return sorted(found)


def read_calls(directory: Path, wanted: Wanted | None = None) -> Iterator[dict[str, Any]]:
    """Give the calls of the log in the order in which they ended. OSError for a file that may not be read.

    Each has at least `at`, unix seconds; what is no whole line of ours is left out.
    """
    for _, path in call_files(directory):
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    call = _parsed(line)
                    if call is not None and (wanted is None or wanted.includes(call)):
                        yield call
        except FileNotFoundError:
            continue  # the oldest one went while the others were read


def row(call: dict[str, Any]) -> str:
    """Give the call as a line under HEADING. Control characters are escaped: names can be the job's."""
    began = datetime.fromtimestamp(call["at"], UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    rest = [f"{call.get('upstream', '')} {call.get('operation', '')}"]
    tries = ", ".join(f"{one.get('fault')} after {one.get('duration', 0.0):.3g} s" for one in call.get("tries", ()))
    rest += [f"({tries})"] if tries else []
    rest += [f"{name}={call[name]}" for name in ("reason", "run", "request_id", "trace") if name in call]
    line = (
        f"{began:<24}{call.get('outcome', ''):<14}{call.get('status', 0):>6}{call.get('attempts', 0):>6}"
        f"{call.get('duration', 0.0):>10.3f}{call.get('queued', 0.0):>8.3f}  {' '.join(rest)}"
    )
    return line.translate(_CONTROLS)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        call = json.loads(line)
    except ValueError:
        return None
    return call if isinstance(call, dict) and isinstance(call.get("at"), int | float) else None
