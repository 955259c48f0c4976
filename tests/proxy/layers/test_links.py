"""Links in replies lead back through the proxy."""

import json

import pytest

from blueprint_proxy.errors import Reason, Refusal, UpstreamTruncated
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.layers import links as links_layer
from blueprint_proxy.upstreams.links import Links
from support.scripted_upstream import Heard, ScriptedUpstream, call, pipelines, reply, stream
from support.virtual_time import virtual_time

PUBLIC = b"http://127.0.0.1:8900/gcs"
LINK = b"https://storage.googleapis.com/download/storage/v1/b/x/o/y?alt=media"
RESOURCE = b'{"mediaLink": "' + LINK + b'"}'
JSON = (b"Content-Type", b"application/json; charset=UTF-8")


async def answered(step, *, operation="objects.get", **given):
    upstream = ScriptedUpstream(step)
    layers = pipelines(
        upstream,
        Heard(),
        links=Links(b"storage.googleapis.com", b""),
        resources=frozenset({"objects.get"}),
    )
    return await layers.guard(call(operation=operation, public_url=PUBLIC, **given)), upstream


@pytest.mark.parametrize("field", [b"Location", b"X-Goog-Upload-URL", b"x-goog-upload-control-url"])
def test_a_linked_field_leads_through_the_proxy(field):
    @virtual_time
    async def played():
        answer, _ = await answered(reply(200, b"", (field, LINK), (b"X-Other", LINK)), operation="objects.insert")
        assert list(answer.headers) == [(field, LINK.replace(b"https://storage.googleapis.com", PUBLIC)),
                                        (b"X-Other", LINK)]  # fmt: skip

    played()


@virtual_time
async def test_a_field_that_leads_elsewhere_is_left_alone():
    answer, _ = await answered(reply(302, b"", (b"Location", b"https://elsewhere.example/x")))
    assert answer.headers.get(b"location") == b"https://elsewhere.example/x"


@virtual_time
async def test_fields_without_a_link_pass_byte_for_byte():
    fields = Fields(b"X-A:  odd \t\r\nx-location: https://storage.googleapis.com/\r\n")
    step = reply(200)
    step.headers = fields
    answer, _ = await answered(step, operation="objects.download")
    assert answer.headers.raw == b"X-A:  odd \t\r\nx-location: https://storage.googleapis.com/\r\n"


@virtual_time
async def test_a_resource_is_rewritten_and_its_length_no_longer_stated():
    step = reply(200, RESOURCE, JSON, (b"Content-Length", b"%d" % len(RESOURCE)))
    step.framed = True
    answer, _ = await answered(step)
    assert json.loads(answer.body)["mediaLink"].startswith(PUBLIC.decode())
    assert (answer.framed, answer.headers.get(b"content-length")) == (False, None)


@virtual_time
async def test_a_streamed_resource_is_rewritten_too():
    body = stream(RESOURCE[:9], RESOURCE[9:])
    body.end(None)
    answer, _ = await answered(reply(200, body, JSON))
    assert json.loads(answer.body)["mediaLink"].startswith(PUBLIC.decode())


@virtual_time
async def test_a_large_resource_is_rewritten_beside_the_loop():
    document = RESOURCE[:-1] + b', "pad": "' + b"x" * links_layer.AT_ONCE + b'"}'
    answer, _ = await answered(reply(200, document, JSON))
    assert json.loads(answer.body)["mediaLink"].startswith(PUBLIC.decode())


@pytest.mark.parametrize(
    ("step", "given"),
    [
        (lambda: reply(200, RESOURCE, JSON), {"operation": "objects.download"}),
        (lambda: reply(200, RESOURCE, (b"Content-Type", b"text/plain")), {}),
        (lambda: reply(404, RESOURCE, JSON), {}),
        (lambda: reply(200, RESOURCE, JSON), {"method": "HEAD"}),
    ],
    ids=["media", "no json", "failure", "head"],
)
def test_what_is_no_resource_keeps_its_bytes(step, given):
    @virtual_time
    async def played():
        answer, _ = await answered(step(), **given)
        assert answer.body == RESOURCE

    played()


@virtual_time
async def test_media_streams_on_unread():
    body = stream(b"first")
    answer, _ = await answered(reply(200, body, JSON), operation="objects.download")
    assert answer.body is body


@virtual_time
async def test_resources_are_asked_for_uncompressed_and_media_as_the_job_asked():
    asked = Fields.of([(b"Accept-Encoding", b"gzip")])
    _, upstream = await answered(reply(200, b"{}", JSON), headers=asked)
    assert upstream.calls[0].headers.get(b"accept-encoding") == b"identity"
    _, upstream = await answered(reply(200, b"{}", JSON), headers=asked, operation="objects.download")
    assert upstream.calls[0].headers.get(b"accept-encoding") == b"gzip"


@virtual_time
async def test_a_resource_that_is_cut_short_is_a_failed_attempt():
    upstream = ScriptedUpstream(lambda _: cut(), reply(200, b"{}", JSON))
    layers = pipelines(
        upstream, Heard(), links=Links(b"storage.googleapis.com", b""), resources=frozenset({"objects.get"})
    )
    answer = await layers.guard(call(operation="objects.get", public_url=PUBLIC))
    assert (answer.status, answer.body, answer.attempts) == (200, b"{}", 2)


def cut():
    body = stream(b"{")
    body.fail(UpstreamTruncated("cut", sent=True))
    return reply(200, body, JSON)


def test_a_resource_beyond_the_bound_is_refused_and_let_go(monkeypatch):
    monkeypatch.setattr(links_layer, "LARGEST", 10)

    @virtual_time
    async def played():
        body = stream(RESOURCE)
        with pytest.raises(Refusal) as refused:
            await answered(reply(200, body, JSON))
        assert (refused.value.reason, refused.value.status, refused.value.attempts) == (Reason.TOO_LARGE, 502, 1)
        assert body.over

    played()
