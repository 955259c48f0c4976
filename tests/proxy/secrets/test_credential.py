"""A credential: read once, looked for again while it is missing, shown by nothing."""

import pytest

from blueprint_proxy.config import CredentialSource, Secret, SecretPlace, read_secret
from blueprint_proxy.secrets.credential import LOOK_AGAIN, Credential

VALUE = "s3cr3t-value"
SOURCE = CredentialSource((SecretPlace("file", "/run/secrets/the-key"), SecretPlace("env", "THE_KEY")), "the-key")


class Reader:
    """Gives what `answer` is, and counts how often it was asked."""

    def __init__(self, answer=None):
        self.answer = answer
        self.asked = 0

    def __call__(self, source):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def credential(reader, clock=None, *, header=("x-goog-api-key", "{}"), source=SOURCE, found=None, problems=None):
    return Credential(
        source,
        header,
        read=reader,
        now=clock or Clock(),
        on_found=(found if found is not None else []).append,
        on_problem=(problems if problems is not None else []).append,
    )


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (("x-goog-api-key", "{}"), (b"x-goog-api-key", b"s3cr3t-value")),
        (("authorization", "Bearer {}"), (b"authorization", b"Bearer s3cr3t-value")),
    ],
)
def test_the_field_is_the_template_with_the_value(header, field):
    assert credential(Reader(Secret(VALUE)), header=header).field() == field


def test_a_value_with_braces_is_taken_as_it_is():
    assert credential(Reader(Secret("a{}b")), header=("authorization", "Bearer {}")).field()[1] == b"Bearer a{}b"


def test_a_found_credential_is_read_once():
    reader, clock = Reader(Secret(VALUE)), Clock()
    held = credential(reader, clock)
    held.field()
    clock.now += 1000
    held.field()
    assert reader.asked == 1


def test_a_missing_one_is_looked_for_again_but_not_at_every_call():
    reader, clock = Reader(), Clock()
    held = credential(reader, clock)
    assert [held.field() for _ in range(5)] == [None] * 5
    assert reader.asked == 1
    reader.answer = Secret(VALUE)
    clock.now += LOOK_AGAIN
    assert held.field() is not None


def test_redaction_hears_of_the_value_before_it_is_used():
    found = []
    credential(Reader(Secret(VALUE)), found=found).field()
    assert found == [Secret(VALUE)]


@pytest.mark.parametrize("answer", [None, PermissionError("file /run/secrets/the-key"), ValueError("bad characters")])
def test_what_cannot_be_read_counts_as_missing_and_is_told(answer):
    problems = []
    assert credential(Reader(answer), problems=problems).field() is None
    assert problems == ["not found" if answer is None else str(answer)]


def test_nothing_shows_the_value():
    held = credential(Reader(Secret(VALUE)))
    held.field()
    assert VALUE not in f"{held!r} {held} {held.id} {held.places} {vars(held)['_source']}"


def test_it_is_known_by_its_id_or_else_by_its_first_place():
    assert credential(Reader()).id == "the-key"
    assert credential(Reader(), source=CredentialSource(SOURCE.places)).id == "file /run/secrets/the-key"
    assert credential(Reader(), source=CredentialSource(())).id == "nowhere"


def test_it_reads_the_real_places(tmp_path):
    file = tmp_path / "key"
    file.write_text(VALUE + "\n")
    source = CredentialSource((SecretPlace("file", str(file)),))
    assert credential(read_secret, source=source).field() == (b"x-goog-api-key", VALUE.encode())
