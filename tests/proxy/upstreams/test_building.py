"""From settings to an upstream that serves."""

import ssl

import pytest

from blueprint_proxy.layers.recording import RecordCalls
from blueprint_proxy.upstreams.gcs import GcsKind
from blueprint_proxy.upstreams.gemini import GeminiKind
from blueprint_proxy.upstreams.http import HttpKind
from support.virtual_time import virtual_time


def inside(layer):
    """The names of the layers, from the outermost."""
    names = []
    while hasattr(layer, "_next"):
        names.append(type(layer).__name__)
        layer = layer._next
    return [*names, type(layer).__name__]


@pytest.mark.parametrize(("kind", "rules"), [("http", HttpKind), ("gcs", GcsKind), ("gemini", GeminiKind)])
def test_each_kind_has_its_rules(built, kind, rules):
    @virtual_time
    async def played():
        assert isinstance(built(f"kind: {kind}, credential: none").kind, rules)

    played()


@pytest.mark.parametrize(
    ("kind", "links", "repeats"), [("http", False, False), ("gcs", True, True), ("gemini", True, False)]
)
def test_a_kind_has_the_layers_it_needs(built, kind, links, repeats):
    @virtual_time
    async def played():
        layers = inside(built(f"kind: {kind}, credential: none").pipelines.guard)
        assert ("LeadLinksBack" in layers, "AnswerRepeats" in layers) == (links, repeats)
        assert "InjectCredential" not in layers

    played()


@virtual_time
async def test_an_upstream_with_a_credential_injects_it_on_both_ways(built):
    upstream = built("credential: {env: THE_KEY}", THE_KEY="s3cr3t")
    assert isinstance(upstream.pipelines.guard, RecordCalls)
    for way in (upstream.pipelines.guard, upstream.pipelines.relay):
        assert inside(way)[-3:] == ["InjectCredential", "MakeAttempt", "Http1Transport"]


@virtual_time
async def test_a_tls_file_that_cannot_be_used_is_an_error_at_once(built, tmp_path):
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    with pytest.raises((OSError, ssl.SSLError)):
        built(f'tls: {{ca: "{bad}"}}', url="https://127.0.0.1:1")
