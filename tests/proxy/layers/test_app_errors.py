"""Errors inside of an OK."""

from blueprint_proxy.calls import Verdict
from blueprint_proxy.layers.app_errors import APP_ERROR, ReadAppErrors
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from support.rpc import rpc_call
from support.scripted_upstream import Heard, ScriptedUpstream
from support.virtual_time import virtual_time


def found(_operation, body):
    return "ERROR: no" if body == b"bad" else None


async def read(body, *, code=Code.OK, fails=False):
    heard = Heard()
    upstream = ScriptedUpstream(RpcReply(Status(code, "", (("t", "1"),)), (("i", "1"),), body))
    layer = ReadAppErrors(upstream, find=found, fails=fails, telemetry=heard.telemetry)
    return await layer(rpc_call()), heard.names()


@virtual_time
async def test_a_good_reply_passes():
    reply, events = await read(b"good")
    assert (reply.verdict, reply.ended.trailing, events) == (Verdict.OK, (("t", "1"),), [])


@virtual_time
async def test_an_error_passes_unchanged_and_counts_as_a_failure_that_is_not_repeated():
    reply, events = await read(b"bad")
    assert (reply.ended.code, reply.body, reply.verdict) == (Code.OK, b"bad", Verdict.RETRYABLE)
    assert reply.ended.trailing == (("t", "1"), (APP_ERROR, "ERROR: no"))
    assert reply.repeat_forbidden
    assert events == ["app_error_seen"]


@virtual_time
async def test_an_error_can_become_a_status():
    reply, _ = await read(b"bad", fails=True)
    assert (reply.ended.code, reply.ended.message, reply.initial) == (
        Code.FAILED_PRECONDITION,
        "ERROR: no",
        (("i", "1"),),
    )


@virtual_time
async def test_what_is_a_failure_already_is_not_read():
    reply, events = await read(b"bad", code=Code.UNKNOWN)
    assert (reply.ended.code, events) == (Code.UNKNOWN, [])
