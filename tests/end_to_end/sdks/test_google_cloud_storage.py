"""google-cloud-storage as it comes from the index, at two ages, through the proxy and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.sdk_venvs import run_script, version_of
from support.strict_gcs import Fault, StrictGcs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from end_to_end.sdks.conftest import JobEnvironment
    from support.proxy import StartProxy
    from support.strict_gcs import Action, Received

SCRIPT = Path(__file__).parent / "scripts" / "gcs_flows.py"
SDKS = ["google-cloud-storage-2.18.2", "google-cloud-storage-3.17.1"]
TOKEN = "the-token-that-no-job-may-see"
BUCKET = "scenes-7"

PATIENT = {
    "retry": {"attempts": 3, "base": "1ms", "cap": "5ms"},
    "retry_budget": {"ratio": 1.0, "min": 100},
    "breaker": {"min_calls": 10_000, "consecutive": 10_000},
}
"""Half of all attempts fail in one of these tests, which a breaker is right to mind."""

EFFECTS = {
    "buckets.insert": 1,
    "objects.insert": 9,  # one in a single request, three resumable, five small ones for the list
    "uploads.start": 3,
    "uploads.chunk": 7,  # three and three, and one for the large file
    "objects.patch": 1,
    "objects.compose": 1,
    "objects.rewrite": 1,
    "objects.delete": 11,
}
"""What the script changes, once, however often it had to be asked for."""

pytestmark = [
    pytest.mark.timeout(700),  # the first test of each release may have to make its environment
    pytest.mark.parametrize("sdk", SDKS),
]


class EachFirst:
    """True for the first sight of every distinct request of a call: what a repeat of it has in common with it."""

    def __init__(self) -> None:
        self.seen: set[tuple[str | None, ...]] = set()

    def __call__(self, request: Received) -> bool:
        spans = request.header("content-range"), request.header("range")
        identity = (request.method, request.target, request.invocation, *spans)
        new = identity not in self.seen
        self.seen.add(identity)
        return new


@pytest.fixture
def gcs() -> Iterator[StrictGcs]:
    with StrictGcs(token=TOKEN, only_through_proxy=True) as running:
        running.store.create_bucket(BUCKET, {})
        yield running


def through_the_proxy(
    sdk: str,
    gcs: StrictGcs,
    proxy: StartProxy,
    job_environment: JobEnvironment,
    directory: Path,
    *,
    sdk_retries: bool,
) -> dict[str, Any]:
    """Run the flows, check what the job saw, and return it."""
    upstream = {"kind": "gcs", "url": gcs.url, "credential": {"env": "GCS_TOKEN"}, **PATIENT}
    running = proxy({"upstreams": {"gcs": upstream}}, {"GCS_TOKEN": TOKEN})
    environment = job_environment(running)
    arguments = {"bucket": BUCKET, "directory": str(directory), "sdk_retries": sdk_retries}
    results = run_script(sdk, SCRIPT, arguments, environment)
    assert TOKEN not in str(environment)
    assert TOKEN not in str(results)
    assert TOKEN not in running.log
    assert_right(results, f"http://{running.authority}/gcs", sdk)
    return results


def assert_right(results: dict[str, Any], public: str, sdk: str) -> None:
    assert results["version"] == version_of(sdk)
    upload = results["upload"]
    assert upload["by_media_link"] == upload["by_name"] == '{"steps": 3}'
    assert upload["media_link"].startswith(f"{public}/download/storage/v1/b/{BUCKET}/o/scene%207%2F")
    assert upload["self_link"].startswith(f"{public}/storage/v1/b/{BUCKET}/o/scene%207%2F")
    sent, got = results["resumable_upload"]["sent"], results["download"]
    assert (got["whole"], got["chunked"], got["streamed"], got["large"]) == (
        sent["known"],
        sent["known"],
        sent["streamed"],
        sent["large"],
    )
    assert got["part"] == got["part_expected"]
    assert results["listing"] == {
        "names": [f"many/{number}" for number in range(5)],
        "contents": [str(number) for number in range(5)],
        "top": [],
        "prefixes": ["chunks/", "many/", "scene 7/"],
    }
    assert results["change"] == {"metadata": {"quality": "high"}, "copy": "012"}
    assert results["refusals"] == {"met": ["PreconditionFailed", "NotFound", "NotFound"]}
    assert results["delete"] == {"left": 0, "exists": False}


def assert_nothing_went_around(gcs: StrictGcs) -> None:
    assert gcs.refused == []
    for request in gcs.requests:
        assert request.header_values("host") == [gcs.authority]
        assert request.header("via")
        if "upload_id=" not in request.target:  # a session's address is its own credential
            assert request.header_values("authorization") == [f"Bearer {TOKEN}"]
    assert gcs.of("buckets.get") == [], "the SDK looks buckets up beside the job's calls"


def test_every_flow_of_an_unmodified_sdk_goes_through_the_proxy(
    sdk: str, gcs: StrictGcs, proxy: StartProxy, job_environment: JobEnvironment, tmp_path: Path
) -> None:
    through_the_proxy(sdk, gcs, proxy, job_environment, tmp_path, sdk_retries=True)
    assert_nothing_went_around(gcs)
    assert gcs.effects == EFFECTS


@pytest.mark.parametrize("action", ["status", "reset"])
def test_a_failure_of_each_repeatable_call_is_hidden_from_an_sdk_that_does_not_retry(
    sdk: str, gcs: StrictGcs, proxy: StartProxy, job_environment: JobEnvironment, tmp_path: Path, action: Action
) -> None:
    each_first = EachFirst()
    gcs.faults.add(Fault(action, times=None, when=each_first))
    through_the_proxy(sdk, gcs, proxy, job_environment, tmp_path, sdk_retries=False)
    assert_nothing_went_around(gcs)
    assert gcs.effects == EFFECTS
    failed = [request for request in gcs.requests if request.fault is not None]
    assert len(failed) == len(each_first.seen)
    assert len(gcs.requests) == 2 * len(failed), "each call took exactly one repeat"
