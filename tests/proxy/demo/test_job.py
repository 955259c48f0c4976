import json
import os
import subprocess
import sys

import pytest

from blueprint_proxy.demo.faults import Fault
from blueprint_proxy.demo.gcs import GcsStandIn
from blueprint_proxy.demo.gemini import GeminiStandIn
from blueprint_proxy.demo.hosting import DEMO_KEY, threaded
from blueprint_proxy.demo.job import CALLS

pytestmark = pytest.mark.end_to_end


def run_job(place, gcs, gemini):
    environment = {
        "PATH": os.defpath,
        "HOME": str(place),
        "STORAGE_EMULATOR_HOST": gcs.url,
        "GOOGLE_GEMINI_BASE_URL": gemini.url,
        "GEMINI_API_KEY": DEMO_KEY,
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
    }
    command = [sys.executable, "-m", "blueprint_proxy.demo.job", str(place)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_job_succeeds_on_upstreams_that_behave(tmp_path):
    with threaded(GcsStandIn()) as gcs, threaded(GeminiStandIn(pause=0)) as gemini:
        code, lines = run_job(tmp_path, gcs, gemini)

    assert [line["error"] for line in lines[1:]] == [None] * CALLS
    assert (code, lines[0]) == (0, {"calls": CALLS})


def test_without_a_proxy_the_job_sees_what_goes_wrong(tmp_path):
    listing = GcsStandIn(faults=[Fault("status", on="GET */o?*prefix=*")])
    with threaded(listing) as gcs, threaded(GeminiStandIn(faults=[Fault("reset")], pause=0)) as gemini:
        code, lines = run_job(tmp_path, gcs, gemini)

    errors = [line["error"].partition(":")[0] for line in lines if line.get("error")]
    assert (code, errors) == (1, ["ServiceUnavailable", "ReadError"])
