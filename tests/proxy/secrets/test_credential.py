"""A credential: the field that carries a held secret, made once for each value, shown by nothing."""

import pytest

from blueprint_proxy.config import Secret
from blueprint_proxy.errors import Reason
from support.scripted_upstream import Heard
from support.secret_store import ScriptedStore
from support.virtual_time import virtual_time

VALUE = "s3cr3t-value"


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (("x-goog-api-key", "{}"), (b"x-goog-api-key", b"s3cr3t-value")),
        (("authorization", "Bearer {}"), (b"authorization", b"Bearer s3cr3t-value")),
    ],
)
def test_the_field_is_the_template_with_the_value(header, field):
    assert ScriptedStore(VALUE).credential(Heard(), header=header).field() == field


def test_a_value_with_braces_is_taken_as_it_is():
    assert ScriptedStore("a{}b").credential(Heard()).field()[1] == b"Bearer a{}b"


def test_the_field_is_made_once_for_a_value():
    held = ScriptedStore(VALUE).credential(Heard())
    assert held.field() is held.field()


def test_a_new_value_is_in_the_next_field():
    store = ScriptedStore(VALUE)
    held = store.credential(Heard())
    held.field()
    store.held.value = Secret("another")
    assert (held.field(), held.secret) == ((b"authorization", b"Bearer another"), Secret("another"))


def test_what_is_missing_is_refused_with_its_id_and_why():
    refusal = ScriptedStore().credential(Heard()).missing()
    assert (refusal.reason, refusal.sent) == (Reason.FORBIDDEN, False)
    assert refusal.message == (
        "the credential of upstream up (the-key) is missing: looked in file /run/secrets/the-key (nothing there), "
        "environment THE_KEY (nothing there)"
    )


@pytest.mark.parametrize("value", ["two\nlines", "ümlaut", "nul\0"])
def test_what_no_header_can_carry_counts_as_missing_and_is_not_shown(value):
    held = ScriptedStore(value).credential(Heard())
    assert held.field() is None
    message = held.missing().message
    assert "what is in file /run/secrets/the-key holds characters that no header can carry" in message
    assert value not in message


def test_an_operator_hears_once_of_every_reason_why():
    heard, store = Heard(), ScriptedStore()
    held = store.credential(heard)
    held.missing()
    held.missing()
    store.held.why = "another reason"
    held.missing()
    assert [event["why"] for event in heard.all("credential_missing")] == [
        "looked in file /run/secrets/the-key (nothing there), environment THE_KEY (nothing there)",
        "looked in another reason",
    ]


@pytest.mark.parametrize(("news", "renewed"), [(["another"], True), ([], False), (["no\nheader"], False)])
def test_renewing_says_whether_there_is_another_field(news, renewed):
    @virtual_time
    async def played():
        held = ScriptedStore(VALUE, *news).credential(Heard())
        held.field()
        assert await held.renew(Secret(VALUE)) is renewed

    played()


def test_nothing_shows_the_value():
    store = ScriptedStore(VALUE)
    held = store.credential(Heard())
    held.field()
    assert VALUE not in f"{held!r} {held} {held.id} {store.held!r} {held.missing().message}"
