"""Who may do what, with the real process: jobs are not operators, and web pages are neither."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .conftest import JOBS, OPERATORS, TOKENS, UPSTREAMS, ask

RUN = {"job_name": "render", "scene_id": "kitchen_0007"}


OF_OPERATORS = [
    ("POST", "/v1/drain", {}),
    ("POST", "/v1/upstreams/it/breaker", {"action": "force_open"}),
    ("GET", "/v1/config", None),
    ("GET", "/v1/runs", None),
    ("GET", "/v1/events", None),
    ("GET", "/v1/upstreams", None),
    ("GET", "/docs", None),
    ("GET", "/openapi.json", None),
]


def test_a_job_token_opens_nothing_of_operators(guarded, as_job, as_operator):
    for method, path, body in OF_OPERATORS:
        refused = as_job(method, path, body=body)
        assert (refused.status, refused.reason) == (403, "forbidden")
        assert refused.fields["www-authenticate"].startswith('Bearer realm="blueprint-proxy operator"')
        assert ask(guarded, method, path, body=body).status == 401
    breakers = as_operator("GET", "/v1/upstreams").json()[0]["breakers"]
    assert {breaker["state"] for breaker in breakers} <= {"closed"}
    assert as_operator("GET", "/readyz").json() == {"ready": True}


def test_a_job_does_not_see_another_jobs_run(as_job, as_operator):
    mine = as_job("POST", "/v1/runs", body=RUN)
    assert mine.status == 201
    other = as_job("POST", "/v1/runs", body={**RUN, "scene_id": "kitchen_0008"}).json()
    assert as_job("GET", "/v1/runs").status == 403
    assert as_job("GET", f"/v1/runs/{other['id']}/cost").status == 403
    second = as_job("POST", "/v1/runs", body=RUN)
    assert second.status == 409
    assert mine.json()["id"] not in second.body.decode()
    listed = as_operator("GET", "/v1/runs").body.decode()
    assert mine.json()["scope"] in listed
    assert mine.json()["id"] not in listed


def test_a_run_cannot_be_ended_by_a_guess(as_job):
    as_job("POST", "/v1/runs", body=RUN)
    for name in ("kitchen_0007~render", "0" * 32, "..", "%2e%2e"):
        assert as_job("POST", f"/v1/runs/{name}/end", body={"outcome": "success"}).status in {403, 404}
    assert as_job("POST", "/v1/runs", body=RUN).status == 409


def test_the_operators_token_opens_what_jobs_may_do(as_operator):
    assert as_operator("GET", "/v1/addresses").status == 200


def test_jobs_are_told_where_their_upstreams_are(guarded, as_job):
    shown = as_job("GET", "/v1/addresses").json()
    assert shown["http"] == f"http://{guarded.authority}"
    assert shown["upstreams"]["it"]["url"] == f"http://{guarded.authority}/it"


def test_a_job_reads_no_secret_that_is_not_for_jobs(as_job):
    refused = as_job("GET", "/v1/secrets/gemini-api-key")
    assert (refused.status, refused.reason) == (403, "forbidden")


def test_a_page_of_another_origin_cannot_post(proxy):
    open_to_all = proxy({"upstreams": UPSTREAMS})
    host = f"127.0.0.1:{open_to_all.admin[1]}"
    for origin in ("http://evil.example", "null", f"https://{host}"):
        for path in ("/v1/drain", "/v1/runs", "/v1/upstreams/it/breaker"):
            refused = ask(open_to_all, "POST", path, body={}, origin=origin, host=host)
            assert (refused.status, refused.reason) == (403, "forbidden")
    assert ask(open_to_all, "GET", "/readyz").status == 200


def test_a_form_cannot_post(proxy):
    """A page may send these without asking, and some browsers without an Origin."""
    open_to_all = proxy({"upstreams": UPSTREAMS})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(open_to_all, "POST", "/v1/drain", body={}, content_type=kind).status == 415
    assert ask(open_to_all, "GET", "/readyz").status == 200


def test_a_hostile_host_is_refused(proxy):
    open_to_all = proxy({"upstreams": UPSTREAMS})
    for host in ("evil.example", "evil.example:8901", "127.0.0.1.evil.example", "a, 127.0.0.1"):
        for path in ("/livez", "/metrics", "/v1/upstreams", "/v1/addresses"):
            assert ask(open_to_all, "GET", path, host=host).status == 421
        assert ask(open_to_all, "POST", "/v1/drain", body={}, host=host).status == 421
    assert ask(open_to_all, "GET", "/readyz").status == 200


def test_with_a_job_token_alone_nobody_is_an_operator(proxy):
    jobs_alone = proxy({"upstreams": UPSTREAMS}, {"BLUEPRINT_PROXY_TOKEN": JOBS})
    for token in (None, JOBS):
        refused = ask(jobs_alone, "GET", "/v1/config", token=token)
        assert refused.status == 403
        assert "configure admin.token" in refused.json()["error"]["message"]
    assert ask(jobs_alone, "GET", "/v1/addresses", token=JOBS).status == 200
    assert ask(jobs_alone, "GET", "/v1/addresses").status == 401


def test_one_token_for_both_is_refused_at_start(proxy):
    with pytest.raises(AssertionError, match=r"exit code 1 at start(.|\n)*jobs.token and admin.token are the same"):
        proxy({"upstreams": UPSTREAMS}, {"BLUEPRINT_PROXY_ADMIN_TOKEN": JOBS, "BLUEPRINT_PROXY_TOKEN": JOBS})


def test_tokens_stand_in_no_log_and_in_no_answer(guarded, as_operator):
    said = [as_operator("GET", path).body for path in ("/v1/config", "/v1/upstreams", "/metrics", "/docs")]
    ask(guarded, "GET", "/v1/config", token="wrong-" + OPERATORS)
    for token in TOKENS.values():
        assert token not in guarded.log
        assert token.encode() not in b"".join(said)


ASKING = """
import os, socket, sys
if sys.argv[2] != "0":
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"GET /livez HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(connection.recv(12).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_over_a_unix_socket_another_users_process_gets_nothing(proxy):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        file = Path(folder, "admin.sock")
        proxy({"upstreams": UPSTREAMS, "listen": {"admin": f"unix:{file}"}})
        file.chmod(0o666)  # as somebody might who wants to share it: the process is asked all the same

        def answered(uid):
            command = [sys.executable, "-c", ASKING, str(file), str(uid)]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

        assert answered(65534) == "HTTP/1.1 403"
        assert answered(0) == "HTTP/1.1 200"
