import contextlib
import io

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.gcs import GcsStandIn
from blueprint_proxy.demo.hosting import threaded

MESH = bytes(range(256)) * 4 * 300


@pytest.fixture(autouse=True)
def no_background_calls(monkeypatch):
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


@contextlib.contextmanager
def bucket_on(upstream):
    with contextlib.closing(
        storage.Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": upstream.url})
    ) as client:
        yield client.create_bucket("scenes", retry=None)


def test_the_sdk_uploads_in_chunks_downloads_lists_and_deletes():
    with threaded(GcsStandIn()) as upstream, bucket_on(upstream) as bucket:
        bucket.blob("a/mesh", chunk_size=256 * 1024).upload_from_file(io.BytesIO(MESH), retry=None)

        assert bucket.blob("a/mesh").download_as_bytes(retry=None) == MESH
        assert [blob.name for blob in bucket.list_blobs(retry=None)] == ["a/mesh"]
        bucket.blob("a/mesh").delete(retry=None)
        with pytest.raises(exceptions.NotFound):
            bucket.blob("a/mesh").reload(retry=None)

        assert sum(exchange.request.method == "PUT" for exchange in upstream.exchanges) == 2
        assert {exchange.request.header("host") for exchange in upstream.exchanges} == {upstream.address}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=503), exceptions.ServiceUnavailable),
        (Fault("throttle"), exceptions.TooManyRequests),
        (Fault("reset"), requests.ConnectionError),
        (Fault("cut", after=20), requests.exceptions.ChunkedEncodingError),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_fault_surfaces_in_the_sdk_as_its_own_kind_of_error(fault, error):
    with threaded(GcsStandIn(faults=[fault])) as upstream, pytest.raises(error), bucket_on(upstream):
        pass


def test_the_sdk_resumes_a_download_that_was_cut():
    cut = Fault("cut", on="GET *alt=media*", after=10_000)
    with threaded(GcsStandIn(faults=[cut])) as upstream, bucket_on(upstream) as bucket:
        bucket.blob("mesh").upload_from_string(MESH, retry=None)

        assert bucket.blob("mesh").download_as_bytes() == MESH
        first_missing = upstream.exchanges[-1].request.header("range").removeprefix("bytes=").removesuffix("-")
        assert 0 < int(first_missing) <= 10_000


def test_the_emulator_is_not_reached_under_another_name():
    with threaded(GcsStandIn()) as upstream:
        reply = requests.get(f"{upstream.url}/storage/v1/b", headers={"Host": "storage.googleapis.com"}, timeout=5)

    assert reply.status_code == 421
