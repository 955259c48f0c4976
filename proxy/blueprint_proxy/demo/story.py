"""What happened upstream beside what the job saw: pure functions over the stand-ins' reports and the job's lines."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from blueprint_proxy.demo.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Chapter:
    """One call of the job: how many requests its upstream got, which of them went wrong, what the job saw.

    `error` is None where the job saw no failure. `seconds` is how long the job waited.
    """

    upstream: str
    call: str
    attempts: int
    faults: tuple[Fault, ...]
    resumed: int
    seconds: float
    error: str | None

    @property
    def upstream_side(self) -> str:
        """Say what went wrong upstream, in order."""
        repeated = [(str(fault), len(list(same))) for fault, same in itertools.groupby(self.faults)]
        return (
            ", then ".join(f"{fault}, {times} times" if times > 1 else fault for fault, times in repeated) or "nothing"
        )

    @property
    def job_side(self) -> str:
        """Say what the job saw."""
        if self.error is not None:
            return f"FAILED: {self.error}"
        resumed = ", resumed by the SDK" if self.resumed else ""
        return f"ok after {self.seconds:.2f} s{resumed}"


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """The whole run in numbers.

    `hidden` failures were repaired by the proxy, `resumed` ones by the SDK (a media body that broke off), `surfaced`
    ones reached the job. `around` counts requests that did not come through the proxy, `unplayed` faults that never
    acted.
    """

    calls: int
    attempts: int
    hidden: int
    resumed: int
    surfaced: int
    keys_seen: int
    around: int
    unplayed: int

    @property
    def as_wished(self) -> bool:
        """Whether the proxy did all that this demo promises."""
        return not (self.surfaced or self.keys_seen or self.around or self.unplayed)


def chapters(lines: Iterable[Mapping[str, Any]], reports: Mapping[str, Mapping[str, Any]]) -> list[Chapter]:
    """Put every call of the job beside the exchanges that its upstream recorded in the meantime.

    `lines` are the job's, `reports` the stand-ins' by name. The job makes one call at a time, and all times are of one
    clock, so the time alone tells which exchange belongs to which call.
    """
    return [_chapter(line, reports[line["upstream"]]["exchanges"]) for line in lines if "call" in line]


def _chapter(line: Mapping[str, Any], exchanges: Iterable[Mapping[str, Any]]) -> Chapter:
    mine = [exchange for exchange in exchanges if line["began"] <= exchange["at"] <= line["ended"]]
    failed = [(exchange, Fault(**exchange["fault"])) for exchange in mine if exchange["fault"] is not None]
    return Chapter(
        upstream=line["upstream"],
        call=line["call"],
        attempts=len(mine),
        faults=tuple(fault for _, fault in failed),
        resumed=0
        if line["error"]
        else sum(_breaks_a_download(fault, exchange["target"]) for exchange, fault in failed),
        seconds=line["ended"] - line["began"],
        error=line["error"],
    )


def _breaks_a_download(fault: Fault, target: str) -> bool:
    """Media goes to the job as it comes, so a cut in it is for the SDK to mend; metadata is whole before it goes on."""
    return fault.kind == "cut" and "alt=media" in target


def total(story: Iterable[Chapter], reports: Iterable[Mapping[str, Any]], keys_seen: int) -> Totals:
    """Add up. A call that failed surfaced one failure, the last; the failures before it were hidden."""
    told, reported = list(story), list(reports)
    faults = sum(len(chapter.faults) for chapter in told)
    surfaced = sum(chapter.error is not None for chapter in told)
    resumed = sum(chapter.resumed for chapter in told)
    return Totals(
        calls=len(told),
        attempts=sum(report["attempts"] for report in reported),
        hidden=max(0, faults - resumed - surfaced),
        resumed=resumed,
        surfaced=surfaced,
        keys_seen=keys_seen,
        around=sum(exchange["refused"] for report in reported for exchange in report["exchanges"]),
        unplayed=sum(report["faults_left"] for report in reported),
    )
