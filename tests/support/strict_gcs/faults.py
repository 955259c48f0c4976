"""What the strict GCS does wrong, on request: a script of faults, each met by the requests it is meant for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.strict_gcs.received import Received

Action = Literal["status", "reset", "stall", "cut"]


@dataclass
class Fault:
    """One way to fail.

    `action`: `status` answers with `status`, `headers` and `body`; `reset` breaks the connection with a RST; `stall` is
    silent until the caller leaves or `FaultScript.release`; `cut` sends the whole head and `keep` bytes of the body,
    then closes. With `after_effect` the operation is carried out first, so that only its answer is lost (`cut` always
    carries it out). `operation` is a glob over operation names; `when` narrows further. `times` requests meet it, None
    for all; the first `skip` matching ones pass. `stored` is how many bytes of a chunk are kept all the same by a fault
    before the effect of `uploads.chunk`.
    """

    action: Action
    operation: str = "*"
    after_effect: bool = False
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": {"code": 503, "message": "scripted", "errors": [{"reason": "backendError"}]}}'
    keep: int = 0
    stored: int = 0
    times: int | None = 1
    skip: int = 0
    when: Callable[[Received], bool] | None = None

    @property
    def name(self) -> str:
        """What it is called in a record: `503 before objects.insert`."""
        what = str(self.status) if self.action == "status" else self.action
        return f"{what} {'after' if self.after_effect else 'before'} {self.operation}"


class FaultScript:
    """The faults still to come, first match first. Safe to use from the server's threads and the test's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._released = threading.Event()

    def add(self, fault: Fault) -> None:
        """Queue a fault behind those already there."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget every fault that has not been met."""
        with self._lock:
            self._faults.clear()

    @property
    def left(self) -> int:
        """How many counted faults have not been met as often as they should be."""
        with self._lock:
            return sum(1 for fault in self._faults if fault.times is not None)

    def meet(self, request: Received) -> Fault | None:
        """The fault for this request, taken from the script, or None."""
        with self._lock:
            for fault in self._faults:
                if not fnmatchcase(request.operation, fault.operation):
                    continue
                if fault.when is not None and not fault.when(request):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None

    def release(self) -> None:
        """End every stall, now and from now on: its caller gets the answer after all."""
        self._released.set()

    def wait_released(self, at_most: float) -> bool:
        """Wait some seconds for `release`; true once it was called."""
        return self._released.wait(at_most)
