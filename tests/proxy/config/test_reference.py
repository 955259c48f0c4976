from __future__ import annotations

import jsonschema
import pytest

from blueprint_proxy.config import json_schema, reference
from blueprint_proxy.config.defaults import BY_KIND, EVERY_KIND
from blueprint_proxy.config.reading import read_yaml


def test_the_reference_names_every_default_with_its_reason():
    text = reference()
    for defaults in (EVERY_KIND, *BY_KIND.values()):
        for key, default in defaults.items():
            assert f"| `{key}` | " in text
            assert default.reason in text


@pytest.mark.parametrize(
    "key", ["listen.http", "upstreams.NAME.url", "upstreams.NAME.operations.PATTERN.class", "fleet.url"]
)
def test_the_reference_names_every_key(key):
    assert f"| `{key}` | " in reference()


def test_the_reference_holds_no_name_of_this_code():
    assert "Undefined" not in reference()
    assert "File" not in reference()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "listen: {http: 'unix:/x'}",
        "drain: {grace: 5}",
        "upstreams: {gemini: null, gcs: {credential: none, deadline: none, retry: {on: [503, reset]}}}",
        "upstreams: {x: {url: 'http://x', body: {memory: 64MiB}, operations: {a: {class: unsafe, mode: 'off'}}}}",
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(configure, text):
    configure(text)
    jsonschema.validate(read_yaml(text, "f").data, json_schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "text",
    [
        "listn: {}",
        "drain: {grace: soon}",
        "upstreams: {'@x': {url: 'http://x'}}",
        "upstreams: {gcs: {retry: {on: [soon]}}}",
        "upstreams: {gcs: {credential: literal}}",
        "jobs: {token: literal}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(problems, text):
    assert problems(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(text, "f").data, json_schema(), cls=jsonschema.Draft202012Validator)
