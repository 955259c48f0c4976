"""The demo from beginning to end: start everything, run the job, tell the story, take everything down."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import secrets
import shlex
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from blueprint_proxy.demo import children
from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.story import Chapter, Totals, chapters, total

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIRST_BYTE = 1.0  # seconds that the demo's proxy waits for an answer to begin; the stalls below are longer

GCS_FAULTS = (
    Fault("status", "POST *uploadType=multipart*", status=503, times=2),
    Fault("status", "PUT *upload_id=*", status=503, skip=1),
    Fault("status", "GET */o/*scene.glb?projection=*", status=503),
    Fault("cut", "GET */o/*scene.glb?projection=*", after=60),
    Fault("cut", "GET /download/*scene.glb?*alt=media*", after=1_000_000),
    Fault("reset", "GET /download/*manifest.json?*alt=media*", times=2),
    Fault("stall", "GET */o?*prefix=*", seconds=3),
)
GEMINI_FAULTS = (
    Fault("status", "*:generateContent", status=503, skip=1, times=2),
    Fault("throttle", "*:generateContent", retry_delay=0.8, skip=2),
    Fault("reset", "*:generateContent", skip=2),
    Fault("stall", "*:generateContent", seconds=3, skip=2),
    Fault("status", "*:streamGenerateContent?*", status=503),
    Fault("status", "POST /upload/*/files", status=503),
)


def show(*, keep: bool) -> int:
    """Run the demo; 0 only if the job succeeded, nothing surfaced, nothing went around and no key was seen."""
    console = Console() if sys.stdout.isatty() else Console(width=132)
    missing = [name for name in ("gcp_storage_emulator", "google.cloud.storage", "google.genai") if not _is_there(name)]
    if missing:
        console.print(f"the demo needs its extra, pip install 'blueprint-proxy[demo]': no {', '.join(missing)}")
        return 1
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        try:
            return _show(stack, console, keep=keep)
        except children.ChildFailedError as problem:
            console.print(f"the demo could not run: {escape(str(problem))}", style="red")
            return 1
        except KeyboardInterrupt:
            console.print("interrupted; everything is being taken down")
            return 130


def _show(stack: contextlib.ExitStack, console: Console, *, keep: bool) -> int:
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blueprint-demo-")))
    received = place / "received"
    received.mkdir()
    key = f"demo-key-{secrets.token_hex(16)}"
    urls = {
        "gcs": stack.enter_context(children.stand_in("gcs", GCS_FAULTS, "", place / "gcs.log")),
        "gemini": stack.enter_context(children.stand_in("gemini", GEMINI_FAULTS, key, place / "gemini.log")),
    }
    http, grpc, admin = (f"127.0.0.1:{port}" for port in children.free_ports(3))
    config = place / "blueprint-proxy.yaml"
    config.write_text(yaml.safe_dump(_configuration(place, urls, http, grpc, admin), sort_keys=False))
    stack.enter_context(children.proxy(config, admin, {"GEMINI_API_KEY": key}, place / "proxy.log"))
    environment = children.job_environment(config, received)
    console.print(
        f"A scene job now calls Cloud Storage and Gemini through the proxy at {http}. Both are stand-ins on this "
        "machine and fail by script; the job uses Google's own SDKs, their repeats turned off.\n",
        highlight=False,
    )
    lines = _run_job(console, received, environment, place / "job.log")
    reports = {name: children.report(url) for name, url in urls.items()}
    story = chapters(lines, reports)
    seen = _count_key(key, environment, lines, [*received.iterdir(), place / "job.log"])
    logged = _count_key(key, {}, [], [place / "proxy.log"])
    totals = total(story, reports.values(), seen)
    planned = next((line["calls"] for line in lines if "calls" in line), None)
    _tell(console, story, totals, _authorised(reports["gemini"]), logged)
    succeeded = totals.as_wished and logged == 0 and planned == totals.calls
    if planned != totals.calls:
        console.print(f"the job ended early: {escape((place / 'job.log').read_text()[-2000:])}", style="red")
    console.print("The demo succeeded." if succeeded else "The demo FAILED.", style="green" if succeeded else "red")
    if keep:
        _hold(console, {"proxy": http, "admin": admin, **urls}, environment, config)
    return 0 if succeeded else 1


def _configuration(place: Path, urls: Mapping[str, str], http: str, grpc: str, admin: str) -> dict[str, Any]:
    """Make the proxy's configuration: its defaults, but with waits short enough to watch."""
    quick = {
        "timeouts": {"first_byte": f"{FIRST_BYTE:g}s"},
        "retry": {"attempts": 4, "base": "100ms", "cap": "500ms"},
    }
    return {
        "listen": {"http": http, "grpc": grpc, "admin": admin},
        "state_dir": str(place / "state"),
        "upstreams": {
            "gemini": {"kind": "gemini", "url": urls["gemini"], "credential": {"env": "GEMINI_API_KEY"}, **quick},
            "gcs": {"kind": "gcs", "url": urls["gcs"], "credential": "none", **quick},
        },
    }


def _run_job(console: Console, place: Path, environment: Mapping[str, str], errors: Path) -> list[dict[str, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    lines: list[dict[str, Any]] = []
    with (
        children.job(place, environment, errors) as output,
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress,
    ):
        bar = progress.add_task("the job starts", total=None)
        for text in output:
            line = json.loads(text)
            lines.append(line)
            if "calls" in line:
                progress.update(bar, total=line["calls"])
                continue
            saw = "ok" if line["error"] is None else "FAILED"
            progress.update(bar, advance=1, description=f"{line['upstream']}: {line['call']}")
            if not console.is_terminal:
                console.print(f"[{len(lines) - 1:2}] {line['upstream']:6} {line['call']}: {saw}", markup=False)
    return lines


def _tell(console: Console, story: list[Chapter], totals: Totals, authorised: str, logged: int) -> None:
    table = Table(title="Upstream and job, side by side", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("the job called")
    table.add_column("requests\nupstream", justify="right")
    table.add_column("what went wrong upstream")
    table.add_column("what the job saw")
    for number, chapter in enumerate(story, 1):
        table.add_row(
            str(number),
            escape(f"{chapter.upstream}: {chapter.call}"),
            str(chapter.attempts),
            escape(chapter.upstream_side),
            escape(chapter.job_side),
            style=None if not chapter.faults else "yellow" if chapter.error is None else "red",
        )
    console.print()
    console.print(table)
    if totals.resumed:
        console.print(
            "A download goes to the job as it comes. When its body breaks off, the proxy breaks the job's "
            "connection too, never ending it as if it were whole, and the storage SDK asks for the rest by itself.\n"
        )
    rows = {
        "calls of the job": totals.calls,
        "attempts upstream": totals.attempts,
        "failures hidden by the proxy": totals.hidden,
        "failures resumed by the SDK": totals.resumed,
        "failures surfaced": totals.surfaced,
        "requests around the proxy": totals.around,
        "keys seen by the job": totals.keys_seen,
        "keys in the proxy's log": logged,
        "Gemini requests by key": authorised,
    }
    if totals.unplayed:
        rows["faults that never acted"] = totals.unplayed
    for name, value in rows.items():
        console.print(f"{name:30} {value}", highlight=False)
    console.print(
        "(searched for the key: the job's environment, its output and every reply and file that it kept)\n",
        style="dim",
        highlight=False,
    )


def _authorised(report: Mapping[str, Any]) -> str:
    keys = [exchange["key"] for exchange in report["exchanges"]]
    return (
        f"{keys.count('expected')} with the real key, {keys.count('other')} with another, "
        f"{keys.count('none')} without (chunks of an upload need none)"
    )


def _count_key(key: str, environment: Mapping[str, str], lines: list[dict[str, Any]], files: list[Path]) -> int:
    texts = [*environment.values(), *(json.dumps(line) for line in lines)]
    found = sum(text.count(key) for text in texts)
    return found + sum(file.read_bytes().count(key.encode()) for file in files)


def _hold(console: Console, addresses: Mapping[str, str], environment: Mapping[str, str], config: Path) -> None:
    console.print("\nStill up until Ctrl-C:")
    for name, address in addresses.items():
        console.print(f"  {name:8} {address}", highlight=False)
    console.print(f"  config   {config}\n\nPoint a job of your own at it with:", highlight=False)
    for name, value in environment.items():
        if name not in {"PATH", "HOME"}:
            console.print(f"  export {name}={shlex.quote(value)}", highlight=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit that unwinds the stack, so that the children end too."""

    def leave(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
