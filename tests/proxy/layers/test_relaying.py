"""`mode: off`: one attempt, no policy, and an answer in any case."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.policies.rate import TokenBucket
from support.scripted_upstream import START, Heard, ScriptedUpstream, breaker, call, pipelines, policies, reply
from support.virtual_time import virtual_time


@virtual_time
async def test_no_failure_is_repeated_and_none_is_marked():
    upstream = ScriptedUpstream(reply(503, b"as it came", (b"Retry-After", b"1")))
    answer = await pipelines(upstream, Heard()).relay(call())
    assert (answer.status, answer.body, answer.error, answer.attempts) == (503, b"as it came", None, 1)
    assert len(upstream.calls) == 1


@virtual_time
async def test_no_policy_has_a_say():
    shared = policies(breaker=breaker(), rate=TokenBucket(0.001, 1), concurrency=Concurrency(1, 0))
    shared.breaker.force_open(START)
    layers = pipelines(ScriptedUpstream(200), Heard())
    assert [(await layers.relay(call(policies=shared))).status for _ in range(5)] == [200] * 5
    assert asyncio.get_running_loop().time() == START


@pytest.mark.parametrize(
    ("error", "repeatable", "sent"),
    [
        (UpstreamUnreachable("refused"), False, False),
        (UpstreamBroke("reset", sent=True), False, True),
        (UpstreamBroke("reset", sent=True), True, None),
    ],
)
def test_what_failed_without_a_reply_is_answered_for(error, repeatable, sent):
    @virtual_time
    async def played():
        heard = Heard()
        with pytest.raises(Refusal) as refused:
            await pipelines(ScriptedUpstream(error), heard).relay(call(repeatable=repeatable))
        assert (refused.value.reason, refused.value.sent) == (Reason.UPSTREAM_UNREACHABLE, sent)
        assert [(event["outcome"], event["attempts"]) for event in heard.all("call_finished")] == [("refused", 1)]

    played()


@virtual_time
async def test_relayed_calls_are_recorded():
    heard = Heard()
    layers = pipelines(ScriptedUpstream(404), heard)
    await layers.relay(call())
    assert [event["outcome"] for event in heard.all("call_finished")] == ["client_error"]
    assert layers.in_flight == 0
