"""The upstream's credential goes up; nothing outside its layer sees it; a refused one is renewed and sent once more."""

import asyncio

import pytest

from blueprint_proxy.bodies.request import RequestBody
from blueprint_proxy.config import Secret
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.layers.attempt import WHOLE_FAILURE
from blueprint_proxy.policies.budget import RetryBudget
from blueprint_proxy.policies.concurrency import Concurrency
from blueprint_proxy.upstreams.gemini import GeminiKind
from support.scripted_upstream import (
    START,
    Heard,
    NoFlow,
    ScriptedUpstream,
    breaker,
    call,
    pipelines,
    policies,
    reply,
    stream,
)
from support.secret_store import ScriptedStore
from support.virtual_time import virtual_time

VALUE, NEW = "s3cr3t-value", "n3w-value"
BAD_KEY = b'{"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}'


def layers(upstream, store, heard=None, **given):
    heard = heard or Heard()
    return pipelines(upstream, heard, credential=store.credential(heard), **given)


def knows(value, refused=401):
    """An upstream that takes one key only."""

    def step(one):
        good = one.headers.get(b"authorization") == f"Bearer {value}".encode()
        return reply(200, b"fine") if good else reply(refused, b"who are you?")

    return ScriptedUpstream(step)


def sent(upstream):
    return [one.headers.get(b"authorization") for one in upstream.calls]


@virtual_time
async def test_every_attempt_carries_the_credential():
    upstream = ScriptedUpstream(503, 200)
    await layers(upstream, ScriptedStore(VALUE)).guard(call())
    assert sent(upstream) == [b"Bearer " + VALUE.encode()] * 2


@virtual_time
async def test_the_jobs_call_is_not_changed():
    one = call()
    await layers(ScriptedUpstream(200), ScriptedStore(VALUE)).guard(one)
    assert one.headers.get(b"authorization") is None


@pytest.mark.parametrize("way", ["guard", "relay"])
def test_a_missing_credential_is_forbidden_and_names_its_id_and_places(way):
    @virtual_time
    async def played():
        upstream, shared = ScriptedUpstream(200), policies(breaker=breaker(consecutive=1))
        with pytest.raises(Refusal) as refused:
            await getattr(layers(upstream, ScriptedStore()), way)(call(policies=shared))
        assert (refused.value.reason, refused.value.sent, refused.value.status) == (Reason.FORBIDDEN, False, 403)
        assert "the-key" in refused.value.message
        assert "environment THE_KEY (nothing there)" in refused.value.message
        assert upstream.calls == []
        assert shared.breaker.in_flight == 0

    played()


@virtual_time
async def test_a_credential_stands_in_no_repr_of_what_was_sent_and_in_no_event():
    heard, upstream = Heard(), ScriptedUpstream(503)
    held = ScriptedStore(VALUE).credential(heard)
    await pipelines(upstream, heard, credential=held).guard(call())
    one = upstream.calls[0]
    shown = repr((one, one.headers, held, heard.events, [getattr(one, slot) for slot in one.__slots__]))
    assert VALUE not in shown


@virtual_time
async def test_relaying_carries_the_credential_too():
    upstream = ScriptedUpstream(200)
    await layers(upstream, ScriptedStore(VALUE)).relay(call())
    assert sent(upstream) == [b"Bearer " + VALUE.encode()]


# the first load


@pytest.mark.parametrize("way", ["guard", "relay"])
def test_a_call_waits_for_the_first_load(way):
    @virtual_time
    async def played():
        store, upstream = ScriptedStore(loaded=False), ScriptedUpstream(200)
        task = asyncio.get_running_loop().create_task(getattr(layers(upstream, store), way)(call()))
        await asyncio.sleep(3)
        assert upstream.calls == []
        store.held.value = Secret(VALUE)
        store.held.loaded.set()
        assert (await task).status == 200

    played()


@virtual_time
async def test_a_call_that_waits_for_the_first_load_holds_no_place_and_ages_no_permit():
    store, shared = ScriptedStore(loaded=False), policies(concurrency=Concurrency(1, 0), breaker=breaker())
    task = asyncio.get_running_loop().create_task(layers(ScriptedUpstream(200), store).guard(call(policies=shared)))
    await asyncio.sleep(3)
    assert (shared.concurrency.active, shared.breaker.in_flight) == (0, 0)
    store.held.value = Secret(VALUE)
    store.held.loaded.set()
    await task


@virtual_time
async def test_the_wait_for_the_first_load_ends_with_the_deadline():
    with pytest.raises(Refusal) as refused:
        await layers(ScriptedUpstream(200), ScriptedStore(loaded=False)).guard(call(deadline=START + 2))
    assert (refused.value.reason, refused.value.sent) == (Reason.DEADLINE_EXCEEDED, False)


@virtual_time
async def test_a_secret_whose_first_load_is_not_over_serves_as_soon_as_it_is_there():
    store = ScriptedStore(VALUE, loaded=False)
    assert (await layers(ScriptedUpstream(200), store).guard(call())).status == 200


# a refused credential


@virtual_time
async def test_a_refused_credential_is_renewed_and_the_call_sent_once_more():
    heard, upstream, store = Heard(), knows(NEW), ScriptedStore(VALUE, NEW)
    answer = await layers(upstream, store, heard).guard(call())
    assert (answer.status, answer.attempts, store.asked) == (200, 1, 1)
    assert sent(upstream) == [f"Bearer {VALUE}".encode(), f"Bearer {NEW}".encode()]
    assert [event["outcome"] for event in heard.all("credential_rejected")] == ["repeated"]


@virtual_time
async def test_without_a_new_value_the_failure_passes_as_it_came():
    heard, upstream, store = Heard(), knows(NEW), ScriptedStore(VALUE)
    answer = await layers(upstream, store, heard).guard(call())
    assert (answer.status, answer.body, answer.source, answer.error) == (401, b"who are you?", "upstream", None)
    assert len(upstream.calls) == 1
    assert [event["outcome"] for event in heard.all("credential_rejected")] == ["unchanged"]


@virtual_time
async def test_a_new_value_that_is_refused_too_is_not_repeated_again():
    upstream, store = knows("neither"), ScriptedStore(VALUE, NEW, "a-third")
    assert (await layers(upstream, store).guard(call())).status == 401
    assert (len(upstream.calls), store.asked) == (2, 1)


@virtual_time
async def test_a_refused_credential_costs_no_retry_and_moves_no_breaker():
    shared = policies(budget=RetryBudget(0.0, 0.1), breaker=breaker(consecutive=1))
    for _ in range(5):
        store = ScriptedStore(VALUE, NEW)
        assert (await layers(knows(NEW), store).guard(call(policies=shared))).status == 200
    assert shared.budget.spent(START) == 0
    assert shared.breaker.state(START).value == "closed"


@virtual_time
async def test_a_refused_credential_is_no_failure_even_where_401_may_be_repeated():
    from dataclasses import replace

    from support.scripted_upstream import RETRY

    shared = policies(retry=replace(RETRY, on=RETRY.on | {401}), breaker=breaker(consecutive=1))
    upstream = knows(NEW)
    assert (await layers(upstream, ScriptedStore(VALUE)).guard(call(policies=shared))).status == 401
    assert (len(upstream.calls), shared.breaker.state(START).value) == (1, "closed")


@virtual_time
async def test_a_place_at_the_upstream_is_free_while_the_secret_is_renewed():
    shared, seen = policies(concurrency=Concurrency(1, 0)), []

    class Slow(ScriptedStore):
        async def renew(self, held, rejected):
            seen.append((shared.concurrency.active, shared.breaker.in_flight))
            return await super().renew(held, rejected)

    assert (await layers(knows(NEW), Slow(VALUE, NEW)).guard(call(policies=shared))).status == 200
    assert seen == [(0, 0)]


@virtual_time
async def test_a_refusal_too_long_to_read_is_let_go_before_the_call_is_repeated():
    body = stream(b"x" * (WHOLE_FAILURE + 1))
    upstream = ScriptedUpstream(reply(401, body), 200)
    shared = policies(concurrency=Concurrency(1, 0))
    answer = await layers(upstream, ScriptedStore(VALUE, NEW)).guard(call(policies=shared))
    assert (answer.status, shared.concurrency.active) == (200, 0)


@pytest.mark.parametrize(("memory", "status", "outcome"), [(100, 200, "repeated"), (0, 401, "too_late")])
def test_a_call_is_repeated_only_if_its_body_was_kept(memory, status, outcome):
    class Taker:
        def body_data(self, data):
            pass

        body_end = body_failed = body_data

    @virtual_time
    async def played():
        body = RequestBody(NoFlow(), 4, memory=memory)
        body.feed(b"data")
        body.end(Fields())
        inner, heard = knows(NEW), Heard()

        async def takes_the_body(one):
            one.body.start(Taker())
            one.body.stop()
            return await inner(one)

        answer = await layers(takes_the_body, ScriptedStore(VALUE, NEW), heard).guard(call(body=body))
        assert answer.status == status
        assert [event["outcome"] for event in heard.all("credential_rejected")] == [outcome]

    played()


@virtual_time
async def test_a_job_without_a_credential_of_ours_gets_its_401_unread():
    body = stream(b"who")
    answer = await pipelines(ScriptedUpstream(reply(401, body)), Heard()).guard(call())
    assert answer.body is body


@virtual_time
async def test_only_the_reason_tells_geminis_bad_key_from_any_other_400():
    for body, calls in ((BAD_KEY, 2), (b'{"error": {"message": "API_KEY_INVALID"}}', 1), (b"not json", 1)):
        steps = [reply(400, stream_of(body)), reply(200)]
        upstream = ScriptedUpstream(*steps)
        await layers(upstream, ScriptedStore(VALUE, NEW), kind=GeminiKind()).guard(call())
        assert len(upstream.calls) == calls


def stream_of(body):
    made = stream(body)
    made.end(Fields())
    return made


@virtual_time
async def test_observing_records_what_would_have_been_done():
    heard, upstream, store = Heard(), knows(NEW), ScriptedStore(VALUE, NEW)
    observed = policies(observing=True)
    assert (await layers(upstream, store, heard).guard(call(policies=observed))).status == 401
    assert (len(upstream.calls), store.asked) == (1, 0)
    assert [event["what"] for event in heard.all("would_have")] == ["renew_credential"]


@virtual_time
async def test_with_mode_off_a_refused_credential_passes():
    upstream, store = knows(NEW), ScriptedStore(VALUE, NEW)
    assert (await layers(upstream, store).relay(call())).status == 401
    assert store.asked == 0
