import http.client
import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.end_to_end


def status_of(url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/v1/models", headers={"x-goog-api-key": "k"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def held():
    command = [sys.executable, "-m", "blueprint_proxy.demo.gemini", "--held-by-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(json.dumps({"key": "k", "faults": [{"kind": "status", "status": 500}]}) + "\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def test_a_process_prints_its_address_and_takes_its_settings_from_its_input(held):
    url = held.stdout.readline().strip()

    assert [status_of(url), status_of(url)] == [500, 200]


def test_a_process_ends_with_its_input(held):
    held.stdout.readline()
    held.stdin.close()

    assert held.wait(10) == 0


def test_a_process_ends_on_sigterm(held):
    held.stdout.readline()
    held.terminate()

    assert held.wait(10) == 0


def test_a_process_takes_its_key_from_a_file(tmp_path):
    (tmp_path / "key").write_text("k\n")
    command = [sys.executable, "-m", "blueprint_proxy.demo.gemini", "--key-file", str(tmp_path / "key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert status_of(process.stdout.readline().strip()) == 200
        finally:
            process.terminate()
