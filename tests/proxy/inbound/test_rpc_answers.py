"""How refusals and replies end a call."""

import pytest

from blueprint_proxy.errors import STATUSES, Reason, Refusal
from blueprint_proxy.inbound.rpc_answers import ended, refused
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status


def answer(refusal):
    status = refused(refusal, upstream="up", request_id="r-1")
    return status, dict(status.trailing)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_the_contracts_code(reason):
    status, trailing = answer(Refusal(reason, "why", attempts=2))
    assert (status.code.name, status.message) == (STATUSES[reason][1], "blueprint-proxy: why")
    assert trailing == {
        "x-blueprint-error": reason.value, "x-blueprint-source": "proxy", "x-blueprint-attempts": "2",
        "x-request-id": "r-1", "x-blueprint-upstream": "up",
    }  # fmt: skip


def test_what_is_known_of_sending_is_said():
    assert answer(Refusal(Reason.OVERLOADED, "", sent=False))[1]["x-blueprint-not-sent"] == "true"
    maybe = answer(Refusal(Reason.UPSTREAM_UNREACHABLE, "", sent=True))[1]
    assert (maybe["x-blueprint-maybe-executed"], maybe["grpc-retry-pushback-ms"]) == ("true", "-1")


def test_a_time_to_come_back_is_said_in_both_languages():
    trailing = answer(Refusal(Reason.BREAKER_OPEN, "", retry_after=1.2345, sent=False))[1]
    assert (trailing["retry-after"], trailing["grpc-retry-pushback-ms"]) == ("2", "1235")


def test_what_was_given_up_must_not_be_repeated_by_the_jobs_client():
    assert answer(Refusal(Reason.UPSTREAM_UNREACHABLE, "", final=True))[1]["grpc-retry-pushback-ms"] == "-1"
    assert "grpc-retry-pushback-ms" not in answer(Refusal(Reason.OVERLOADED, "", sent=False))[1]


def test_a_replys_own_trailing_metadata_stands_before_ours():
    reply = RpcReply(Status(Code.ABORTED, "m", (("a", "1"), ("a", "2"), ("grpc-retry-pushback-ms", "5"))), (), b"")
    reply.attempts = 2
    status = ended(reply, upstream="up", request_id="r-1")
    assert status == Status(
        Code.ABORTED,
        "m",
        (
            ("a", "1"), ("a", "2"), ("grpc-retry-pushback-ms", "5"), ("x-blueprint-upstream", "up"),
            ("x-blueprint-attempts", "2"), ("x-blueprint-source", "upstream"), ("x-request-id", "r-1"),
        ),
    )  # fmt: skip


def test_a_given_up_answer_says_so_and_takes_the_place_of_a_pushback():
    reply = RpcReply(
        Status(Code.UNAVAILABLE, "", (("grpc-retry-pushback-ms", "5"), ("x-request-id", "theirs"))), (), b""
    )
    reply.error, reply.retry_after = "rate_limited", 59.2
    trailing = ended(reply, upstream="up", request_id="r-1").trailing
    assert [value for key, value in trailing if key == "grpc-retry-pushback-ms"] == ["-1"]
    assert (
        dict(trailing).items()
        >= {"x-blueprint-error": "rate_limited", "retry-after": "60", "x-request-id": "theirs"}.items()
    )
