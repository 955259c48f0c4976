from __future__ import annotations

import contextvars
import time

from blueprint_clients.external_services.calls import CURRENT, CurrentCall


def test_outside_a_call_there_is_no_deadline_and_no_permit() -> None:
    assert contextvars.Context().run(CURRENT.get) == CurrentCall(None, frozenset())
    assert CURRENT.get().left() is None


def test_what_is_left_is_never_nothing() -> None:
    assert CurrentCall(time.monotonic() - 5).left() == 0.001
    left = CurrentCall(time.monotonic() + 5).left()
    assert left is not None
    assert 4 < left <= 5
