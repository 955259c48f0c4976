import os
import signal

import pytest

from blueprint_proxy import __main__ as entry


def test_process_1_is_stopped_by_a_signal_that_comes_while_it_still_imports(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "getpid", lambda: 1)

    def importing():
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal was dropped")

    monkeypatch.setattr("blueprint_proxy.cli.main", importing)
    try:
        with pytest.raises(SystemExit) as end:
            entry.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 0


def test_any_other_process_keeps_the_systems_own_ending(monkeypatch):
    monkeypatch.setattr("blueprint_proxy.cli.main", lambda: None)
    entry.main()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
