"""A process of its own for each: what is done here cannot be taken back."""

import ctypes
import resource
import subprocess
import sys

import pytest

from blueprint_proxy.secrets import hardening

SHOWS = """
import ctypes, resource
from blueprint_proxy.secrets.hardening import harden
assert harden() == ()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_no_core_file_and_no_reading_of_the_memory():
    done = subprocess.run([sys.executable, "-c", SHOWS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("(0, 0) 0", "")


def test_what_cannot_be_done_is_said(monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "setrlimit", refused)
    monkeypatch.setattr(hardening, "_forbid_dumping", refused)
    first, second = hardening.harden()
    assert first.startswith("core files cannot be turned off")
    assert first.endswith("Operation not permitted")
    assert second.startswith("the process cannot be made undumpable")
    assert second.endswith("Operation not permitted")


def test_a_system_without_prctl_is_named(monkeypatch):
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    (said,) = hardening.harden()
    assert said.startswith("the process cannot be made undumpable")
    assert said.endswith("this system has no prctl")


def test_a_failing_prctl_is_an_error_with_its_reason(monkeypatch):
    class Library:
        @staticmethod
        def prctl(*_):
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library)
    monkeypatch.setattr(ctypes, "get_errno", lambda: 22)
    with pytest.raises(OSError, match="Invalid argument"):
        hardening._forbid_dumping()
