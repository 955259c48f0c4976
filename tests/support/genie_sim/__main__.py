"""`python -m support.genie_sim`: a simulator to show things with (run it in tests/).

    python -m support.genie_sim --port 50051 --fault stall:0.45,on=get_object_pose,times=20,every=5
    python -m support.genie_sim --port 50051 --respawn 2 --fault kill,on=get_joint_position,skip=10

It prints its ports as lines of JSON: `control` (curl http://127.0.0.1:PORT/state) and `listening`. With --respawn a
parent starts the next life so many seconds after each end, without the faults, as the real supervisor does.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.genie_sim.faults import KINDS, Fault, parse
from support.genie_sim.settings import BUILDS, Settings
from support.proxy import free_port

if TYPE_CHECKING:
    from types import FrameType

    from support.genie_sim.server import StandIn

MAX_LIVES = 4
"""The real supervisor starts the server once and three times more."""

LIVES: list[StandIn] = []


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m support.genie_sim", description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Settings):
        flag, default = f"--{field.name.replace('_', '-')}", field.default
        if default is False:
            parser.add_argument(flag, action="store_true")
        elif default is None:
            parser.add_argument(flag, type=Path)
        else:
            parser.add_argument(flag, type=type(default), default=default)
    parser.add_argument(
        "--fault", dest="faults", action="append", default=[], type=_fault, help=f"KIND[:SECONDS]: {', '.join(KINDS)}"
    )
    parser.add_argument("--respawn", type=float, metavar="SECONDS", help="start the next life so long after each end")
    parser.epilog = f"builds: {', '.join(BUILDS)}"
    return parser


def serve(settings: Settings, faults: list[Fault]) -> None:
    """Be one life of the simulator."""
    from support.genie_sim.server import StandIn

    if settings.until_stdin_ends:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if settings.pid_file is not None:
        fresh = settings.pid_file.with_suffix(".new")  # whole or not at all: others read it while lives change
        fresh.write_text(f"{os.getpid()}\n")
        fresh.replace(settings.pid_file)
    LIVES.append(StandIn(settings, faults))  # kept: a zombie's server outlives the frame that an exception leaves
    LIVES[0].run()


def respawn(settings: Settings, faults: list[Fault], pause_s: float) -> int:
    """Be the supervisor: one child after another, at most MAX_LIVES; the exit code of the last."""
    child: subprocess.Popen[bytes] | None = None
    ending = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        if child is not None:
            child.kill()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    code = 0
    port = settings.port or free_port()  # one for all lives
    for life in range(settings.life, settings.life + MAX_LIVES):
        words = dataclasses.replace(settings, life=life, port=port).as_arguments()
        words += [word for fault in faults if life == settings.life for word in ("--fault", str(fault))]
        child = subprocess.Popen([sys.executable, "-m", "support.genie_sim", *words])
        code = child.wait()
        if ending:
            break
        time.sleep(pause_s)
    return code


def main() -> None:
    parser = arguments()
    chosen = vars(parser.parse_args())
    faults, pause_s = chosen.pop("faults"), chosen.pop("respawn")
    try:
        settings = Settings(**chosen)
    except ValueError as refused:
        parser.error(str(refused))
    if pause_s is not None:
        sys.exit(respawn(settings, faults, pause_s))
    serve(settings, faults)


def _fault(words: str) -> Fault:
    try:
        return parse(words)
    except ValueError as refused:
        raise argparse.ArgumentTypeError(str(refused)) from refused


def _end_with_stdin() -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread that holds its lock makes the interpreter abort at its end
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
