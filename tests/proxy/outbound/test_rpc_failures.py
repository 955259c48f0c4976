"""Whose word a status is."""

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.outbound.rpc_failures import REFUSED, failure, ran_out
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import Status
from support.rpc import rpc_call
from support.virtual_time import virtual_time

NOT_THERE = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused"
NO_NAME = "errors resolving nosuch.invalid:1: [field:hostname lookup error]"


def meant(message, *, connected=False, code=Code.UNAVAILABLE, trailing=()):
    return failure(rpc_call(), Status(code, message, trailing), connected=connected)


@pytest.mark.parametrize("message", [NOT_THERE, NO_NAME])
@virtual_time
async def test_without_a_connection_nothing_was_sent(message):
    error = meant(message)
    assert isinstance(error, UpstreamUnreachable)
    assert not error.sent


@pytest.mark.parametrize(
    "message", ["Stream removed (Socket closed)", "Socket closed", "GOAWAY received", "ping timeout"]
)
@virtual_time
async def test_a_connection_that_was_lost_may_have_carried_the_call(message):
    for connected in (False, True):  # the library may tell of the loss before it counts as one
        error = meant(message, connected=connected)
        assert isinstance(error, UpstreamBroke)
        assert error.sent
    assert meant(message, trailing=(("a", "1"),)) is None


@virtual_time
async def test_a_refused_stream_was_not_looked_at():
    for connected in (False, True):
        assert meant(REFUSED, connected=connected).sent is False


@pytest.mark.parametrize("message", [NOT_THERE, NO_NAME])
@virtual_time
async def test_the_same_words_are_the_upstreams_own_while_its_connection_stands(message):
    assert meant(message, connected=True) is None
    assert meant(message, trailing=(("a", "1"),)) is None
    assert meant(message, code=Code.INTERNAL) is None


@virtual_time
async def test_other_words_are_the_upstreams_own():
    assert meant("the database is down") is None


@virtual_time
async def test_a_reply_over_our_limit_is_a_refusal_of_ours():
    error = meant("Stream removed (CLIENT: Received message larger than max (9 vs. 3))", code=Code.RESOURCE_EXHAUSTED)
    assert isinstance(error, Refusal)
    assert error.reason is Reason.TOO_LARGE
    assert meant("SERVER: Received message larger than max (9 vs. 3)", code=Code.RESOURCE_EXHAUSTED) is None


@virtual_time
async def test_a_deadline_that_ran_out_is_final_and_may_have_been_executed():
    refusal = ran_out(rpc_call(repeatable=False), 1.5)
    assert (refusal.reason, refusal.sent, refusal.final) == (Reason.DEADLINE_EXCEEDED, True, True)
    assert ran_out(rpc_call(), 1.5).sent is None
