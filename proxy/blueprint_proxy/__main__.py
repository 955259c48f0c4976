"""`python -m blueprint_proxy`, and the console script."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line.

    As process 1 of a container the kernel drops every signal that nobody handles, and importing takes a part of a
    second: an order to stop that comes in it ends the process at once, before there is anything to drain.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _stop)
    from blueprint_proxy.cli import main as commands  # noqa: PLC0415 -- as said

    commands()


def _stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
