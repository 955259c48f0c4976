"""The upstream's credential goes up; nothing outside this layer sees it."""

import pytest

from blueprint_proxy.config import CredentialSource, Secret, SecretPlace
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.secrets.credential import Credential
from support.scripted_upstream import Heard, ScriptedUpstream, breaker, call, pipelines, policies
from support.virtual_time import virtual_time

VALUE = "s3cr3t-value"
SOURCE = CredentialSource((SecretPlace("env", "THE_KEY"),), "the-key")


def credential(value=VALUE):
    return Credential(
        SOURCE,
        ("authorization", "Bearer {}"),
        read=lambda _: Secret(value) if value else None,
        now=lambda: 0.0,
        on_found=lambda _: None,
        on_problem=lambda _: None,
    )


@virtual_time
async def test_every_attempt_carries_the_credential():
    upstream = ScriptedUpstream(503, 200)
    await pipelines(upstream, Heard(), credential=credential()).guard(call())
    assert [one.headers.get(b"authorization") for one in upstream.calls] == [b"Bearer " + VALUE.encode()] * 2


@virtual_time
async def test_the_jobs_call_is_not_changed():
    one = call()
    await pipelines(ScriptedUpstream(200), Heard(), credential=credential()).guard(one)
    assert one.headers.get(b"authorization") is None


@virtual_time
async def test_a_missing_credential_is_forbidden_and_names_its_id_and_places():
    upstream, shared = ScriptedUpstream(200), policies(breaker=breaker(consecutive=1))
    with pytest.raises(Refusal) as refused:
        await pipelines(upstream, Heard(), credential=credential("")).guard(call(policies=shared))
    assert (refused.value.reason, refused.value.sent, refused.value.status) == (Reason.FORBIDDEN, False, 403)
    assert "the-key" in refused.value.message
    assert "THE_KEY" in refused.value.message
    assert upstream.calls == []
    assert shared.breaker.in_flight == 0


@virtual_time
async def test_a_credential_stands_in_no_repr_of_what_was_sent_and_in_no_event():
    heard, upstream = Heard(), ScriptedUpstream(503)
    held = credential()
    await pipelines(upstream, heard, credential=held).guard(call())
    sent = upstream.calls[0]
    shown = repr((sent, sent.headers, held, heard.events, [getattr(sent, slot) for slot in sent.__slots__]))
    assert VALUE not in shown


@virtual_time
async def test_relaying_carries_the_credential_too():
    upstream = ScriptedUpstream(200)
    await pipelines(upstream, Heard(), credential=credential()).relay(call())
    assert upstream.calls[0].headers.get(b"authorization") == b"Bearer " + VALUE.encode()
