import pytest

from blueprint_proxy.telemetry.redaction import MASK, MOST_REGISTERED, Redactor

KEY = "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"


@pytest.fixture
def redactor():
    return Redactor()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (f"GET /v1beta/models?key={KEY}&alt=sse", f"GET /v1beta/models?key={MASK}&alt=sse"),
        ("POST /token?access_token=abc.def HTTP/1.1", f"POST /token?access_token={MASK} HTTP/1.1"),
        ("PUT /o?upload_id=ABPtcPo&x=1", f"PUT /o?upload_id={MASK}&x=1"),
        ("X-Goog-Signature=0a1b2c&x=1", f"X-Goog-Signature={MASK}&x=1"),
        (f"the key {KEY} was refused", f"the key {MASK} was refused"),
        ("token ya29.a0Af_abc-def ended", f"token {MASK} ended"),
        ("http://user:pass@host:80/x", f"http://{MASK}@host:80/x"),
        ('{"password": "correct horse"}', f'{{"password": "{MASK} horse"}}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- rest", f"{MASK} rest"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE, cut", MASK),
    ],
)
def test_what_looks_like_a_credential_is_masked_in_text(redactor, text, safe):
    assert redactor.text(text) == safe


@pytest.mark.parametrize("text", ["Authorization: Bearer abc.def-123", "bearer abc.def-123", f"x-goog-api-key: {KEY}"])
def test_a_credential_in_a_header_line_is_masked(redactor, text):
    safe = redactor.text(text)
    assert "abc.def" not in safe
    assert KEY not in safe


@pytest.mark.parametrize(
    "text",
    [
        "gcs get: attempt 2 failed (reset): it broke",
        "http://127.0.0.1:8900/gcs/o?alt=media",
        "monkey business",
        "upstreams.x.credential.secret: must be a secret's id",
        "jobs.token: configured, and nothing found in environment X",
    ],
)
def test_ordinary_text_is_left_alone(redactor, text):
    assert redactor.text(text) == text


def test_a_registered_value_is_masked_wherever_it_stands(redactor):
    redactor.register_secret("p4ss/w0rd+")
    assert redactor.text("a p4ss/w0rd+ b p4ss%2Fw0rd%2B c") == f"a {MASK} b {MASK} c"


def test_of_two_registered_values_the_longer_is_masked_whole(redactor):
    redactor.register_secret("abcd")
    redactor.register_secret("abcdefgh")
    assert redactor.text("abcdefgh") == MASK


def test_a_very_short_value_is_not_registered(redactor):
    redactor.register_secret("a")
    redactor.register_secret("")
    assert redactor.text("a banana") == "a banana"


def test_the_oldest_of_too_many_registered_values_is_forgotten(redactor):
    for number in range(MOST_REGISTERED + 1):
        redactor.register_secret(f"value-{number:04}")
    assert redactor.text("value-0000 value-0001") == f"value-0000 {MASK}"


def test_a_value_is_masked_by_the_name_it_stands_under(redactor):
    fields = {"token": "plain", "Api-Key": "plain", "inner": {"set_cookie": ["plain"]}, "upstream": "plain"}
    assert redactor.value(fields) == {
        "token": MASK,
        "Api-Key": MASK,
        "inner": {"set_cookie": [MASK]},
        "upstream": "plain",
    }


def test_ids_and_numbers_pass_whatever_their_name(redactor):
    fields = {"secret_id": "gemini-api-key", "tokens": 1234, "token": None, "has_key": True}
    assert redactor.value(fields) == fields


def test_the_repr_shows_no_value(redactor):
    redactor.register_secret("p4ssw0rd")
    assert "p4ssw0rd" not in repr(redactor)
