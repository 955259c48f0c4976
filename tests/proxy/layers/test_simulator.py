"""What a call meets of the simulator's life, at the door and at its turn."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.layers.simulator import EPOCH, AskSimulator, LostInFlight, SendInEpoch
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from support.rpc import rpc_call
from support.scripted_upstream import ScriptedUpstream
from support.virtual_time import virtual_time


class Watching:
    def __init__(self, denied=None):
        self.epoch = 3
        self.denied = denied
        self.heard = []
        self.over = 0
        self.repeatable = True

    def may_repeat(self, _epoch):
        return self.repeatable

    async def admit(self, call):
        if self.denied is not None:
            raise self.denied

    async def sending(self, call):
        self.heard.append("sending")
        return self.epoch

    def replied(self, call, reply):
        self.heard.append("replied")

    def ended(self):
        self.over += 1

    def unreachable(self):
        self.heard.append("unreachable")

    async def lost(self, call):
        self.heard.append("lost")
        self.epoch += 1


def reply(code=Code.OK):
    found = RpcReply(Status(code, "words"), (), b"answer")
    found.verdict = found.verdict if code is Code.OK else type(found.verdict).RETRYABLE
    return found


@virtual_time
async def test_a_refusal_says_which_epoch_it_is():
    denied = Refusal(Reason.NOT_INITIALISED, "empty", sent=False)
    with pytest.raises(Refusal) as caught:
        await AskSimulator(ScriptedUpstream(), watching=Watching(denied))(rpc_call())
    assert (EPOCH.encode(), b"3") in caught.value.headers


@virtual_time
async def test_a_reply_says_into_which_epoch_its_call_went():
    watching = Watching()
    found = await SendInEpoch(ScriptedUpstream(reply()), watching=watching)(rpc_call())
    assert (EPOCH, "3") in found.ended.trailing
    assert (watching.heard, watching.over) == (["sending", "replied"], 1)


@pytest.mark.parametrize("step", [UpstreamBroke("cut", sent=True), reply(Code.UNAVAILABLE), reply(Code.CANCELLED)])
def test_a_broken_connection_is_explained_before_it_is_told(step):
    @virtual_time
    async def played():
        watching = Watching()
        with pytest.raises(LostInFlight) as caught:
            await SendInEpoch(ScriptedUpstream(step), watching=watching)(rpc_call())
        assert (caught.value.epoch, watching.heard) == (3, ["sending", "lost"])

    played()


@virtual_time
async def test_a_refused_connection_is_told_as_it_is():
    watching = Watching()
    with pytest.raises(UpstreamUnreachable):
        await SendInEpoch(ScriptedUpstream(UpstreamUnreachable("no")), watching=watching)(rpc_call())
    assert watching.heard == ["sending", "unreachable"]


@virtual_time
async def test_what_is_left_in_the_simulator_at_the_end_of_the_process_is_not_over():
    watching = Watching()
    sending = asyncio.ensure_future(SendInEpoch(ScriptedUpstream("hang"), watching=watching)(rpc_call()))
    await asyncio.sleep(1.0)
    sending.cancel()
    await asyncio.wait([sending])
    assert watching.over == 0


@virtual_time
async def test_a_call_that_was_in_one_epoch_is_not_sent_into_another():
    call = rpc_call()
    call.only_epoch = 2
    upstream = ScriptedUpstream(reply())
    with pytest.raises(LostInFlight) as caught:
        await SendInEpoch(upstream, watching=Watching())(call)
    assert (caught.value.epoch, upstream.calls) == (2, [])
    await asyncio.sleep(0)


@virtual_time
async def test_a_repeat_is_not_sent_when_nobody_knows_any_more_whether_it_is_the_same_simulator():
    call = rpc_call()
    call.only_epoch = 3
    watching = Watching()
    watching.repeatable = False
    upstream = ScriptedUpstream(reply())
    with pytest.raises(LostInFlight):
        await SendInEpoch(upstream, watching=watching)(call)
    assert upstream.calls == []
