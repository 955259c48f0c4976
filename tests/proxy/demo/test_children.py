import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest

from blueprint_proxy.demo import children
from blueprint_proxy.demo.faults import Fault

pytestmark = pytest.mark.end_to_end


def ask(url, **headers):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/v1/models", headers={"x-goog-api-key": "k", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_stand_in_serves_only_what_comes_through_a_proxy_and_reports(tmp_path):
    with children.stand_in("gemini", [Fault("status", status=500)], "k", tmp_path / "log") as url:
        assert [ask(url), ask(url, Via="1.1 x"), ask(url, Via="1.1 x")] == [403, 500, 200]
        assert children.report(url)["attempts"] == 2


@pytest.mark.parametrize("way_out", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_a_stand_in_is_gone_whatever_ends_the_block(tmp_path, way_out):
    urls = []

    def leave():
        with children.stand_in("gcs", [], "", tmp_path / "log") as url:
            urls.append(url)
            raise way_out

    with pytest.raises(way_out):
        leave()
    address = urlsplit(urls[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=1)


def test_a_stand_in_that_does_not_start_says_why(tmp_path):
    start = children.stand_in("nothing_of_that_name", [], "", tmp_path / "log")

    with pytest.raises(children.ChildFailedError, match="nothing_of_that_name"):
        start.__enter__()


def test_a_job_that_reaches_no_upstream_says_so_and_ends_with_the_block(tmp_path):
    nowhere = f"http://127.0.0.1:{children.free_ports(1)[0]}"
    environment = {"STORAGE_EMULATOR_HOST": nowhere, "GOOGLE_GEMINI_BASE_URL": nowhere, "HOME": str(tmp_path)}
    with children.job(tmp_path, environment, tmp_path / "log") as output:
        announced, first = (json.loads(next(output)) for _ in range(2))

    assert announced["calls"] > 0
    assert first["error"].startswith("ConnectionError")


def test_free_ports_differ():
    assert len(set(children.free_ports(3))) == 3
