from __future__ import annotations

import dataclasses

import pytest

PATTERNS = """
upstreams:
  gcs:
    deadline: 1m
    operations:
      objects.*: {deadline: 2m, breaker: {window: 7s}}
      objects.get: {retry: {attempts: 9}, class: read_only}
      "GET /upload/*": {deadline: 3m, breaker: {open: 9s}, rate: {per_second: 5}}
"""


@pytest.fixture
def gcs(configure):
    return configure(PATTERNS).upstreams["gcs"]


def test_operations_of_one_owner_have_equal_settings_of_it(gcs):
    found = [
        gcs.for_operation(name, method, path)
        for name in ("objects.get", "objects.list", "buckets.get")
        for method in ("GET", "POST")
        for path in ("/upload/x", "/o")
    ]
    for policy in ("breaker", "rate", "concurrency", "retry_budget"):
        by_owner: dict[str, object] = {}
        for settings in found:
            assert by_owner.setdefault(settings.owners[policy], getattr(settings, policy)) == getattr(settings, policy)


def test_settings_are_frozen(gcs):
    settings = gcs.for_operation("x", "GET", "/")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.deadline = 1
