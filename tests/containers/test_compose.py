"""docker-compose.yml for real: up, healthy, scraped, a job that succeeds, an end that waits for what is in flight."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from support.containers import STARTS_WITHIN, Composition, execute, podman, wait_until_healthy
from support.proxy import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("images")]

WITH_A_HEALTH_CHECK = ("blueprint-proxy", "gcs", "gemini")
LONG_RUNNING = ("network", *WITH_A_HEALTH_CHECK, "prometheus")
STALL = {"kind": "stall", "on": "*:countTokens", "seconds": 3}

ASK = """
import http.client, sys
port, method, path, via, body = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
connection.request(method, path, body.encode() or None, {"via": via} if via else {})
response = connection.getresponse()
print(response.status, response.read().decode())
"""
HELD = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
def writable(path):
    try:
        open(path + "/written", "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "uid": os.getuid(),
    "gid": os.getgid(),
    "capabilities": int(status["CapEff"], 16),
    "no_new_privileges": int(status["NoNewPrivs"]),
    "writable": [path for path in ("", "/etc", "/opt", "/usr/bin", "/home") if writable(path)],
}))
"""


class Scene:
    """The composition after its job has run."""

    def __init__(self, composition: Composition, key: str, port: int) -> None:
        self.composition = composition
        self.key = key
        self.port = port

    def ask(self, service: str, port: int, path: str, *, method: str = "GET", body: str = "") -> tuple[int, str]:
        """Status and body of one request, made by a program in a service's container."""
        said = execute(self.composition.container(service), ASK, str(port), method, path, "", body)
        status, _, text = said.partition(" ")
        return int(status), text

    def prometheus(self, path: str) -> dict:
        """The data of a query to Prometheus, over the port that is published on this machine."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())["data"]
        finally:
            connection.close()


@pytest.fixture(scope="module")
def scene(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    key = secrets.token_hex(16)
    key_file = tmp_path_factory.mktemp("secrets") / "gemini-api-key"
    key_file.write_text(key)
    key_file.chmod(0o644)
    port = free_port()
    composition = Composition(f"blueprint-test-{secrets.token_hex(4)}", key_file, port)
    try:
        composition.up(*LONG_RUNNING)
        wait_until_healthy(*map(composition.container, WITH_A_HEALTH_CHECK))
        composition.up("job")
        podman("wait", composition.container("job"))
        yield Scene(composition, key, port)
    finally:
        composition.down()


def until(found, what: str):
    """The first result that holds, asked again until then."""
    give_up = time.monotonic() + STARTS_WITHIN
    while not (result := found()):
        assert time.monotonic() < give_up, what
        time.sleep(0.2)
    return result


def test_the_job_succeeds_while_its_upstreams_fail(scene):
    assert scene.composition.state("job")["ExitCode"] == 0, scene.composition.logs("job")
    lines = [json.loads(line) for line in scene.composition.logs("job").splitlines()]
    calls = [line for line in lines if "call" in line]
    assert len(calls) == lines[0]["calls"]
    reports = [json.loads(scene.ask("gcs", port, "/__stand_in/report")[1]) for port in (9001, 9002)]
    assert sum(report["attempts"] for report in reports) > len(calls)
    assert [exchange for report in reports for exchange in report["exchanges"] if exchange["refused"]] == []


def test_the_key_is_with_the_sidecar_and_nowhere_else(scene):
    assert json.loads(scene.ask("gemini", 9002, "/__stand_in/report")[1])["exchanges"][0]["key"] == "expected"
    (job,) = json.loads(podman("container", "inspect", scene.composition.container("job")))
    assert scene.key not in json.dumps(job)
    for service in (*LONG_RUNNING, "job"):
        assert scene.key not in scene.composition.logs(service)
    assert not [mount for mount in job["Mounts"] if "secrets" in mount["Destination"]]


def test_prometheus_scrapes_the_sidecar(scene):
    def up() -> bool:
        targets = scene.prometheus("/api/v1/targets")["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets} == {
            "blueprint-proxy": "up",
            "prometheus": "up",
        }

    until(up, "not every target is up")
    names = until(
        lambda: [
            name for name in scene.prometheus("/api/v1/label/__name__/values") if name.startswith("blueprint_proxy_")
        ],
        "no series of the sidecar",
    )
    assert {"blueprint_proxy_calls_total", "blueprint_proxy_attempts_total"} <= set(names)
    # its greatest value: another test may have started the sidecar anew
    question = quote('sum(max_over_time(blueprint_proxy_calls_total{upstream="gcs"}[1h]))')
    until(
        lambda: any(
            float(series["value"][1]) > 0 for series in scene.prometheus(f"/api/v1/query?query={question}")["result"]
        ),
        "the job's calls are not counted",
    )


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_a_service_is_not_root_has_no_capability_and_cannot_write_to_its_image(scene, service):
    held = json.loads(execute(scene.composition.container(service), HELD))
    assert held == {"uid": 65532, "gid": 65532, "capabilities": 0, "no_new_privileges": 1, "writable": []}


def test_stopping_the_sidecar_waits_for_the_call_in_flight_and_it_comes_back(scene):
    composition = scene.composition
    report = "/__stand_in/report"
    before = len(json.loads(scene.ask("gemini", 9002, report)[1])["exchanges"])
    faults = json.dumps([STALL])
    assert scene.ask("gemini", 9002, "/__stand_in/faults", method="POST", body=faults)[0] == 200
    path = "/gemini/v1beta/models/gemini-2.5-flash:countTokens"
    question = json.dumps({"contents": [{"parts": [{"text": "kitchen"}]}]})
    command = ["podman", "exec", composition.container("gcs"), "python", "-c", ASK, "8900", "POST", path, "", question]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as slow:
        until(
            lambda: len(json.loads(scene.ask("gemini", 9002, report)[1])["exchanges"]) > before,
            "the slow call did not arrive",
        )
        composition.compose("stop", "blueprint-proxy")
        answer, _ = slow.communicate(timeout=30)
    try:
        assert answer.startswith("200 ")
        assert composition.state("blueprint-proxy")["ExitCode"] == 0
    finally:
        composition.compose("start", "blueprint-proxy")
        wait_until_healthy(composition.container("blueprint-proxy"))
    status, _ = scene.ask("gcs", 8900, "/gemini/v1beta/models")
    assert status == 200
