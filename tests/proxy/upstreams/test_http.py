"""Kind http: HTTP's own meanings, a key of the job's, a name of the job's."""

import pytest

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.upstreams.http import HttpKind
from support.requests import request_head

KIND = HttpKind()


def asked(method, *fields):
    return KIND.operation(request_head(method, b"/thing", *fields), b"/thing")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_an_idempotent_method_may_be_repeated(method):
    assert asked(method) == (method, True, None)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_unsafe_method_may_be_repeated_with_an_idempotency_key_only(method):
    assert asked(method) == (method, False, None)
    assert asked(method, (b"Idempotency-Key", b"")) == (method, False, None)
    assert asked(method, (b"Idempotency-Key", b'"k-1"')) == (method, True, None)


def test_a_method_that_nobody_knows_is_other_and_never_repeated():
    assert asked("MADEUP") == ("other", False, None)
    assert asked("MADEUP", (b"Idempotency-Key", b"k")) == ("other", False, None)


def test_a_job_may_name_its_operation():
    assert asked("POST", (b"x-blueprint-operation", b"load scene/v2")) == ("load scene/v2", False, None)


def test_a_name_changes_nothing_about_repeating():
    assert asked("GET", (b"x-blueprint-operation", b"anything")).repeatable


@pytest.mark.parametrize("name", [b"", b"x" * 65, b"\xe9t\xe9", b"a\tb"])
def test_a_name_that_is_not_short_printable_ascii_is_a_bad_request(name):
    with pytest.raises(Refusal) as refused:
        asked("GET", (b"x-blueprint-operation", name))
    assert (refused.value.reason, refused.value.sent) == (Reason.BAD_REQUEST, False)


def test_a_name_may_have_64_characters():
    assert asked("GET", (b"x-blueprint-operation", b"x" * 64)).name == "x" * 64
