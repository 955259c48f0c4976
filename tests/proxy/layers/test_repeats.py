"""An SDK's own repeat of what was given up or refused is answered at once."""

import asyncio

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke, UpstreamUnreachable
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.layers import repeats
from blueprint_proxy.layers.repeats import AnswerRepeats
from support.scripted_upstream import START, Heard, ScriptedUpstream, breaker, call, pipelines, policies, reply
from support.virtual_time import virtual_time


def layers(upstream, heard=None):
    return pipelines(upstream, heard or Heard(), repeats_known=True).guard


def marked(**given):
    return call(**({"invocation": b"id-1"} | given))


@virtual_time
async def test_a_repeat_of_what_was_given_up_is_answered_without_an_attempt():
    upstream, heard = ScriptedUpstream(reply(503, b"real")), Heard()
    send = layers(upstream, heard)
    first = await send(marked())
    again = await send(marked())
    assert (first.attempts, first.source) == (3, "upstream")
    assert (again.status, again.body, again.error, again.attempts) == (503, b"real", "attempts_exhausted", 0)
    assert again.source == "proxy"
    assert len(upstream.calls) == 3
    assert len(heard.all("repeat_recognised")) == 1


@virtual_time
async def test_a_repeat_of_what_was_refused_is_refused_without_an_attempt():
    upstream = ScriptedUpstream(UpstreamUnreachable("refused"))
    send = layers(upstream)
    for attempts in (3, 0):
        with pytest.raises(Refusal) as refused:
            await send(marked())
        assert (refused.value.reason, refused.value.attempts) == (Reason.UPSTREAM_UNREACHABLE, attempts)
        assert (refused.value.status, refused.value.sent) == (502, False)
    assert len(upstream.calls) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"invocation": b"id-2"},
        {"invocation": None},
        {"target": b"/other"},
        {"method": "DELETE"},
        {"headers": Fields.of([(b"Content-Range", b"bytes */20")])},
    ],
)
def test_another_call_is_no_repeat(other):
    @virtual_time
    async def played():
        upstream = ScriptedUpstream(503, 503, 503, 200)
        send = layers(upstream)
        await send(marked())
        assert (await send(marked(**other))).status == 200

    played()


@pytest.mark.parametrize("step", [200, 404, 500])
def test_what_was_not_given_up_may_be_asked_again(step):
    @virtual_time
    async def played():
        upstream = ScriptedUpstream(step)
        send = layers(upstream)
        await send(marked())
        assert (await send(marked())).attempts == 1
        assert len(upstream.calls) == 2

    played()


@virtual_time
async def test_a_failure_that_may_not_be_repeated_by_us_may_be_by_the_sdk():
    upstream = ScriptedUpstream(503)
    send = layers(upstream)
    for _ in range(2):
        await send(marked(repeatable=False))
    assert len(upstream.calls) == 2


@virtual_time
async def test_an_outcome_stands_for_two_minutes():
    upstream = ScriptedUpstream(503)
    send = layers(upstream)
    await send(marked())
    await asyncio.sleep(119.9)
    await send(marked())
    assert len(upstream.calls) == 3
    await asyncio.sleep(0.2)
    await send(marked())
    assert len(upstream.calls) == 6


@virtual_time
async def test_an_outcome_that_names_a_time_to_come_back_stands_until_then_and_counts_down():
    shared = policies(breaker=breaker())
    upstream = ScriptedUpstream(reply(429, b"", (b"Retry-After", b"30")), 200)
    send = layers(upstream)
    first = await send(marked(policies=shared, deadline=START + 10.0))
    assert first.retry_after == 30.0
    await asyncio.sleep(20)
    again = await send(marked(policies=shared))
    assert (again.status, again.retry_after) == (429, pytest.approx(10.0))
    await asyncio.sleep(11)
    assert (await send(marked(policies=shared))).status == 200


@virtual_time
async def test_what_is_remembered_has_a_bound_in_number():
    layer = AnswerRepeats(
        ScriptedUpstream(lambda _: given_up(b"")), telemetry=Heard().telemetry, now=asyncio.get_running_loop().time
    )
    for number in range(repeats.REMEMBERED + 10):
        await layer(marked(invocation=b"%d" % number))
    assert len(layer._outcomes) == repeats.REMEMBERED
    assert next(iter(layer._outcomes))[0] == b"10"


@virtual_time
async def test_what_is_remembered_has_a_bound_in_bytes():
    layer = AnswerRepeats(
        ScriptedUpstream(lambda _: given_up(b"x" * 200_000)),
        telemetry=Heard().telemetry,
        now=asyncio.get_running_loop().time,
    )
    for number in range(100):
        await layer(marked(invocation=b"%d" % number))
    assert len(layer._outcomes) == repeats.LARGEST_MEMORY // 200_006
    assert 0 < layer._size <= repeats.LARGEST_MEMORY


@virtual_time
async def test_a_remembered_refusal_keeps_no_call_in_memory():
    layer = AnswerRepeats(ScriptedUpstream(refuse), telemetry=Heard().telemetry, now=asyncio.get_running_loop().time)
    with pytest.raises(Refusal):
        await layer(marked())
    ((_, outcome, _),) = layer._outcomes.values()
    assert (outcome.__traceback__, outcome.__cause__, outcome.__context__) == (None, None, None)


@virtual_time
async def test_observing_gives_up_nothing_and_so_recognises_no_repeat():
    heard, upstream = Heard(), ScriptedUpstream(UpstreamUnreachable("refused"))
    send = layers(upstream, heard)
    for _ in range(2):
        with pytest.raises(Refusal):
            await send(marked(policies=policies(observing=True)))
    assert len(upstream.calls) == 2
    assert "repeat" not in [event["what"] for event in heard.all("would_have")]


def given_up(body):
    answer = reply(503, body)
    answer.error = "attempts_exhausted"
    return answer


def refuse(_):
    raise Refusal(Reason.UPSTREAM_UNREACHABLE, "no", sent=False, final=True)


@virtual_time
async def test_a_call_that_may_not_be_repeated_is_the_sdks_to_repeat():
    heard, upstream = Heard(), ScriptedUpstream(UpstreamBroke("reset", sent=True), 200)
    send = layers(upstream, heard)
    with pytest.raises(Refusal):
        await send(marked(repeatable=False))
    assert (await send(marked(repeatable=False))).status == 200
    assert heard.all("repeat_recognised") == []


@virtual_time
async def test_a_refusal_that_names_no_time_is_decided_anew():
    heard = Heard()
    layer = AnswerRepeats(
        ScriptedUpstream(overloaded, 200), telemetry=heard.telemetry, now=asyncio.get_running_loop().time
    )
    with pytest.raises(Refusal):
        await layer(marked())
    assert (await layer(marked())).status == 200


def overloaded(_):
    raise Refusal(Reason.OVERLOADED, "the queue is full", sent=False)
