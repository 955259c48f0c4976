"""What every kind starts from: HTTP's own meanings."""

import pytest

from blueprint_proxy.calls import Verdict
from blueprint_proxy.policies.retry import RetryPolicy
from blueprint_proxy.upstreams.gcs import GcsKind
from blueprint_proxy.upstreams.http import HttpKind
from blueprint_proxy.upstreams.kind import bounded, judge_status
from support.scripted_upstream import call, policies, reply


def judged(status, on=(503,)):
    listed = policies(retry=RetryPolicy(3, 1.0, 8.0, frozenset(on)))
    return judge_status(call(policies=listed), reply(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 412, 416, 499, 501, 505])
def test_what_the_caller_got_wrong_is_fatal(status):
    assert judged(status) is Verdict.FATAL


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507, 599])
def test_what_the_upstream_got_wrong_is_retryable_whether_or_not_it_is_repeated(status):
    assert judged(status) is Verdict.RETRYABLE


@pytest.mark.parametrize("status", [408, 499, 501])
def test_a_status_that_is_listed_for_repeats_is_a_failure(status):
    assert judged(status, on=(status,)) is Verdict.RETRYABLE


@pytest.mark.parametrize("on", [(), (429,)])
def test_a_429_asks_for_patience(on):
    assert judged(429, on=on) is Verdict.THROTTLED


def test_a_method_is_bounded():
    assert [bounded(method) for method in ("GET", "PATCH", "get", "MADEUP")] == ["GET", "PATCH", "other", "other"]


@pytest.mark.parametrize("kind", [HttpKind(), GcsKind()])
def test_a_401_refuses_the_credential_and_a_403_does_not(kind):
    assert kind.rejection_statuses == {401}
    assert kind.rejects_credential(401, b"")
