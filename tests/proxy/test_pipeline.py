"""The order of the layers, and what follows from it."""

import asyncio
import gc

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamUnreachable
from blueprint_proxy.layers.links import LeadLinksBack
from blueprint_proxy.pipeline import compose
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.upstreams.links import Links
from support.scripted_upstream import START, Heard, ScriptedUpstream, breaker, call, pipelines, policies, reply
from support.virtual_time import virtual_time


def test_the_first_layer_is_the_outermost():
    def layer(name):
        return lambda following: lambda one: name + following(one)

    assert compose([layer("a"), None, layer("b")], lambda one: one)("c") == "abc"


def test_without_layers_the_transport_is_the_pipeline():
    transport = object()
    assert compose([None], transport) is transport


def order(layer):
    names = []
    while hasattr(layer, "_next"):
        names.append(type(layer).__name__)
        layer = layer._next
    return names


@virtual_time
async def test_the_layers_stand_in_the_order_of_the_design():
    layers = pipelines(ScriptedUpstream(), Heard(), repeats_known=True, credential=object(), links=Links(b"h", b""))
    assert order(layers.guard) == [
        "RecordCalls", "AnswerRepeats", "KeepDeadline", "RetryFailures", "RenewCredential", "AdmitAttempts",
        "BreakCircuits", "LeadLinksBack", "InjectCredential", "MakeAttempt",
    ]  # fmt: skip
    assert order(layers.relay) == ["RecordCalls", "RelayOnce", "LeadLinksBack", "InjectCredential", "MakeAttempt"]


@virtual_time
async def test_what_a_kind_lacks_is_not_in_its_list():
    assert LeadLinksBack.__name__ not in order(pipelines(ScriptedUpstream(), Heard()).guard)


@virtual_time
async def test_both_ways_count_in_flight():
    layers = pipelines(ScriptedUpstream("hang"), Heard())
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(layers.guard(call())), loop.create_task(layers.relay(call()))]
    await asyncio.sleep(1)
    assert layers.in_flight == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert layers.in_flight == 0


@virtual_time
async def test_an_sdks_repeat_of_a_call_given_up_meets_no_policy():
    shared = policies(breaker=breaker())
    upstream = ScriptedUpstream(*[UpstreamUnreachable("refused")] * 20)
    layers = pipelines(upstream, Heard(), repeats_known=True)
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            await layers.guard(call(policies=shared, invocation=b"id-1"))
        assert refused.value.reason is Reason.UPSTREAM_UNREACHABLE
    assert shared.budget.allowed(START) == 1001.0  # one call, not two: 1.0 * 1 + 100.0 * 10 s


@virtual_time
async def test_many_calls_at_once_leave_nothing_behind():
    shared = policies(concurrency=Concurrency(4, 100), breaker=breaker())
    statuses = [503, 200, 429, 500, 404]
    upstream = ScriptedUpstream(lambda one: reply(statuses[len(upstream.calls) % 5]))
    layers = pipelines(upstream, Heard())
    await asyncio.gather(*(layers.guard(call(policies=shared)) for _ in range(80)))
    assert upstream.most_in_flight <= 4
    assert (shared.concurrency.active, shared.concurrency.queued, shared.breaker.in_flight) == (0, 0, 0)
    assert layers.in_flight == 0


@pytest.mark.parametrize("outcome", [200, 404, 503, UpstreamUnreachable("refused")], ids=str)
@virtual_time
async def test_a_call_that_is_over_leaves_nothing_to_the_garbage_collector(outcome):
    """A cycle would keep the call's body in memory until the collector comes by."""
    layers = pipelines(ScriptedUpstream(lambda _: _outcome(outcome)), Heard())

    async def one():
        try:
            await layers.guard(call(deadline=asyncio.get_running_loop().time() + 60.0))
        except Refusal as refusal:
            return refusal.reason
        return None

    await one()
    gc.collect()
    gc.disable()
    try:
        await one()
        assert gc.collect() == 0
    finally:
        gc.enable()


def _outcome(outcome):
    if isinstance(outcome, int):
        return reply(outcome)
    raise UpstreamUnreachable("refused")
