import io

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.gemini import GRANULARITY, MODELS, GeminiStandIn, answer_text
from blueprint_proxy.demo.hosting import DEMO_KEY, threaded


@pytest.fixture
def upstream():
    with threaded(GeminiStandIn(pause=0)) as stand_in:
        yield stand_in


def client_of(upstream, key=DEMO_KEY, version=None):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=upstream.url, api_version=version))


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_sdk_reads_an_answer(upstream, version):
    with client_of(upstream, version=version) as client:
        answer = client.models.generate_content(model=MODELS[0], contents="a mug")

    assert answer.text == answer_text("a mug")
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0


def test_the_sdk_reads_a_stream_of_several_events(upstream):
    with client_of(upstream) as client:
        chunks = list(client.models.generate_content_stream(model=MODELS[0], contents="a b c d e f g h"))

    assert len(chunks) > 2
    assert "".join(chunk.text for chunk in chunks) == answer_text("a b c d e f g h")


def test_without_alt_sse_the_stream_is_one_json_array(upstream):
    target = f"{upstream.url}/v1/models/{MODELS[0]}:streamGenerateContent"
    reply = httpx2.post(
        target, json={"contents": [{"parts": [{"text": "a b c"}]}]}, headers={"x-goog-api-key": DEMO_KEY}
    )

    assert reply.json()[-1]["candidates"][0]["finishReason"] == "STOP"


def test_the_sdk_counts_embeds_and_lists(upstream):
    with client_of(upstream) as client:
        assert client.models.count_tokens(model=MODELS[0], contents="x" * 40).total_tokens == 11
        assert len(client.models.embed_content(model=MODELS[2], contents="a mug").embeddings[0].values) == 8
        assert client.models.list()[0].name == f"models/{MODELS[0]}"


def test_the_sdk_uploads_a_file_in_chunks_and_deletes_it(upstream):
    with client_of(upstream) as client:
        file = client.files.upload(file=io.BytesIO(b"x" * 9 * 1024 * 1024), config={"mime_type": "image/png"})
        assert (file.size_bytes, file.state, file.mime_type) == (9 * 1024 * 1024, types.FileState.ACTIVE, "image/png")
        assert client.files.get(name=file.name).sha256_hash == file.sha256_hash
        client.files.delete(name=file.name)
        with pytest.raises(errors.ClientError) as gone:
            client.files.get(name=file.name)

    assert gone.value.code == 403


def test_an_upload_says_how_much_of_it_is_stored(upstream):
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "x-goog-api-key": DEMO_KEY}
    with httpx2.Client() as http:
        url = http.post(f"{upstream.url}/upload/v1/files", headers=start).headers["x-goog-upload-url"]
        chunk = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": "0"}
        http.post(url, headers=chunk, content=b"x" * GRANULARITY)
        state = http.post(url, headers={"X-Goog-Upload-Command": "query"})

    assert url.startswith(upstream.url)
    assert state.headers["x-goog-upload-status"] == "active"
    assert state.headers["x-goog-upload-size-received"] == str(GRANULARITY)


def test_a_wrong_key_is_a_400_with_its_reason(upstream):
    with client_of(upstream, key="wrong") as client, pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(model=MODELS[0], contents="a mug")

    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert refused.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_a_throttle_names_quota_and_delay_in_its_details_only():
    with (
        threaded(GeminiStandIn(faults=[Fault("throttle", retry_delay=0.8)])) as upstream,
        client_of(upstream) as client,
        pytest.raises(errors.ClientError) as throttled,
    ):
        client.models.generate_content(model=MODELS[0], contents="a mug")

    kinds = {detail["@type"].rpartition(".")[2]: detail for detail in throttled.value.details["error"]["details"]}
    assert (throttled.value.code, throttled.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert kinds["RetryInfo"]["retryDelay"] == "0.8s"
    assert "PerMinute" in kinds["QuotaFailure"]["violations"][0]["quotaId"]
    assert "retry-after" not in throttled.value.response.headers


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=503), errors.ServerError),
        (Fault("reset"), httpx2.ReadError),
        (Fault("cut", after=20), httpx2.RemoteProtocolError),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_fault_surfaces_in_the_sdk_as_its_own_kind_of_error(fault, error):
    with threaded(GeminiStandIn(faults=[fault])) as upstream, client_of(upstream) as client:
        with pytest.raises(error):
            client.models.generate_content(model=MODELS[0], contents="a mug")
        assert client.models.generate_content(model=MODELS[0], contents="a mug").text == answer_text("a mug")


def test_a_stream_that_is_cut_does_not_end_cleanly():
    with threaded(GeminiStandIn(faults=[Fault("cut", after=400)], pause=0)) as upstream, client_of(upstream) as client:
        stream = client.models.generate_content_stream(model=MODELS[0], contents="a b c d e f g h")
        with pytest.raises(httpx2.RemoteProtocolError):
            list(stream)
