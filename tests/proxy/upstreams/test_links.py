"""Which links of a document are led through the proxy, and that every other byte stays what it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.upstreams.links import Links

PUBLIC = b"http://127.0.0.1:8900/gcs"
LINKS = Links(b"storage.googleapis.com", b"")
OWN = "https://storage.googleapis.com/download/storage/v1/b/x/o/y?alt=media"
LED = "http://127.0.0.1:8900/gcs/download/storage/v1/b/x/o/y?alt=media"


def rewritten(document, links=LINKS):
    return json.loads(links.rewrite(json.dumps(document).encode(), PUBLIC))


@pytest.mark.parametrize("key", ["mediaLink", "selfLink"])
@pytest.mark.parametrize(
    "around",
    [lambda one: one, lambda one: {"items": [{}, one, one]}, lambda one: {"done": True, "resource": one}],
    ids=["itself", "items", "resource"],
)
def test_a_resources_own_links_are_led_through(key, around):
    assert rewritten(around({key: OWN, "name": "y"})) == around({key: LED, "name": "y"})


@pytest.mark.parametrize(
    "document",
    [
        {"metadata": {"mediaLink": OWN, "selfLink": OWN}},
        {"items": [{"metadata": {"mediaLink": OWN}}]},
        {"items": {"selfLink": OWN}},
        {"acl": [{"selfLink": OWN}]},
        {"resource": {"metadata": {"selfLink": OWN}}},
        {"other": {"resource": {"selfLink": OWN}}},
        [{"mediaLink": OWN}],
        {"mediaLink": [OWN], "name": OWN},
        {"mediaLink": None, "name": OWN},
        {"mediaLink": {"selfLink": OWN}},
        {"name": '"mediaLink": "' + OWN + '"'},
        {"name": "mediaLink", "x": OWN},
        {"mediaLink\\": OWN},
        {"mediaLink": "https://storage.googleapis.com.evil.example/x"},
        {"mediaLink": "https://elsewhere.example/" + OWN},
        {"mediaLink": "see " + OWN},
    ],
)
def test_what_users_store_and_what_leads_elsewhere_is_left_alone(document):
    text = json.dumps(document).encode()
    assert LINKS.rewrite(text, PUBLIC) == text


def test_white_space_and_order_and_escapes_stay_as_they_were():
    text = b'{ "z" : "\\u00e9\\/" ,\n\t"mediaLink"\t: "' + OWN.encode() + b'&x=\\u0026" , "a":1.0e5 }\n'
    assert LINKS.rewrite(text, PUBLIC) == text.replace(b"https://storage.googleapis.com", PUBLIC)


@pytest.mark.parametrize(
    ("link", "led"),
    [
        (b"https://storage.googleapis.com/x", PUBLIC + b"/x"),
        (b"HTTP://Storage.GoogleAPIs.com/x", PUBLIC + b"/x"),
        (b"https://storage.googleapis.com?x=1", PUBLIC + b"?x=1"),
        (b"https://storage.googleapis.com", PUBLIC),
        (b"https://storage.googleapis.com:444/x", None),
        (b"https://xstorage.googleapis.com/x", None),
        (b"https://user@storage.googleapis.com/x", None),
        (b"https://www.googleapis.com/storage/v1/b/x", PUBLIC + b"/storage/v1/b/x"),
        (b"https://www.googleapis.com/upload/storage/v1/b/x/o", PUBLIC + b"/upload/storage/v1/b/x/o"),
        (b"https://www.googleapis.com/auth/devstorage.read_only", None),
        (b"/x", None),
        (b"", None),
    ],
)
def test_a_link_is_led_through_if_it_leads_to_this_upstream(link, led):
    assert LINKS.through(link, PUBLIC) == (link if led is None else led)


def test_another_storage_has_no_second_name():
    link = b"https://www.googleapis.com/storage/v1/b/x"
    assert Links(b"localhost:4443", b"").through(link, PUBLIC) == link


def test_a_base_path_belongs_to_the_upstream_and_not_to_the_link():
    links = Links(b"localhost:4443", b"/base")
    assert links.through(b"http://localhost:4443/base/x", PUBLIC) == PUBLIC + b"/x"
    assert links.through(b"http://localhost:4443/bases/x", PUBLIC) == b"http://localhost:4443/bases/x"


HOSTILE = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["mediaLink", "selfLink", "items", "resource", "metadata", OWN, '"', "\\", '\\"', '"mediaLink":"', "{", "]"]
    ),
)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), HOSTILE),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(HOSTILE, inner, max_size=5)),
    max_leaves=25,
)


def expected(document):
    """The same by way of a parser: the slow and obvious form."""

    def led(resource):
        if not isinstance(resource, dict):
            return resource
        own = {key: resource[key] for key in ("mediaLink", "selfLink") if isinstance(resource.get(key), str)}
        led_through = {key: LINKS.through(value.encode(), PUBLIC).decode() for key, value in own.items()}
        return resource | led_through

    made = led(document)
    if isinstance(made, dict):
        if isinstance(made.get("items"), list):
            made = made | {"items": [led(one) for one in made["items"]]}
        if "resource" in made:
            made = made | {"resource": led(made["resource"])}
    return made


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_the_scan_does_what_a_parser_would_and_touches_no_other_byte(document, ascii_only, indent):
    def text(of):
        return json.dumps(of, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")

    assert LINKS.rewrite(text(document), PUBLIC) == text(expected(document))


@given(st.binary(max_size=200))
def test_what_is_no_json_is_no_error(document):
    LINKS.rewrite(document + b'"mediaLink": "' + document, PUBLIC)
