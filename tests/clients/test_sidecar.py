from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from blueprint_clients import sidecar as module
from blueprint_clients.environment import JobEnvironment
from blueprint_clients.errors import ConfigurationError, Forbidden, SidecarUnreachable, Unauthenticated
from blueprint_clients.sidecar import IDLE, Sidecar, sidecar_of
from support.sidecar import ADDRESSES, Said, ScriptedSidecar, refused


def connected() -> Sidecar:
    one = sidecar_of()
    assert one is not None
    return one


def test_json_goes_out_and_comes_back(scripted: ScriptedSidecar) -> None:
    scripted.script("POST", "/x", Said(200, {"b": 2}))
    assert connected().ask("POST", "/x", {"a": "ä"}) == {"b": 2}
    (asked,) = scripted.asked
    assert asked.body == {"a": "ä"}
    assert asked.headers["content-type"] == "application/json"
    assert "authorization" not in asked.headers


def test_the_token_is_presented_and_never_shown(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_PROXY_TOKEN", "hush")
    connected().addresses()
    assert scripted.asked[0].headers["authorization"] == "Bearer hush"
    assert "hush" not in repr(connected())


@pytest.mark.parametrize("token", ["a b", "a\r\nHost: x", "ä"])
def test_a_token_that_would_not_stay_in_its_field_is_refused_and_not_shown(job: pytest.MonkeyPatch, token: str) -> None:
    job.setenv("BLUEPRINT_PROXY_TOKEN", token)
    with pytest.raises(ConfigurationError) as raised:
        sidecar_of()
    assert token not in str(raised.value)


def test_a_unix_socket_serves_as_well(scripted_unix: ScriptedSidecar) -> None:
    assert connected().addresses().http == ADDRESSES["http"]
    assert scripted_unix.asked[0].headers["host"] == "localhost"


def test_one_connection_serves_many_exchanges(scripted: ScriptedSidecar) -> None:
    for _ in range(5):
        connected().ask("GET", "/v1/addresses")
    assert {one.connection for one in scripted.asked} == {1}


def test_threads_have_a_connection_each_and_few_are_kept(scripted: ScriptedSidecar) -> None:
    together = threading.Barrier(IDLE + 4)

    def answer(_: object) -> Said:
        return Said(200, {})

    scripted.script("GET", "/x", answer)
    one = connected()

    def work() -> None:
        together.wait(10)
        one.ask("GET", "/x")

    threads = [threading.Thread(target=work) for _ in range(IDLE + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(scripted.asked) == IDLE + 4
    assert len(one._idle) <= IDLE


def test_a_connection_that_was_closed_while_idle_is_replaced_unseen(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/x", Said(200, {}, close=True), Said(200, {"n": 2}))
    one = connected()
    one.ask("GET", "/x")
    assert one.ask("GET", "/x") == {"n": 2}
    assert scripted.asked[1].connection == 2


def test_a_request_that_a_kept_connection_does_not_answer_is_sent_again_on_a_new_one(
    scripted: ScriptedSidecar,
) -> None:
    scripted.script("GET", "/x", Said(200, {}), Said(silent=True), Said(200, {"n": 3}))
    one = connected()
    one.ask("GET", "/x")
    assert one.ask("GET", "/x") == {"n": 3}


def test_a_request_that_a_new_connection_does_not_answer_is_an_error(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/x", Said(silent=True))
    with pytest.raises(SidecarUnreachable):
        connected().ask("GET", "/x")
    assert len(scripted.asked) == 1


def test_an_answer_that_says_close_ends_its_connection(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/x", Said(200, {}, {"connection": "close"}))
    one = connected()
    one.ask("GET", "/x")
    assert not one._idle


@pytest.mark.parametrize(
    ("status", "reason", "kind"), [(401, "unauthenticated", Unauthenticated), (403, "forbidden", Forbidden)]
)
def test_a_refusal_is_typed_and_its_connection_goes_on(
    scripted: ScriptedSidecar, status: int, reason: str, kind: type[Exception]
) -> None:
    scripted.script("GET", "/x", refused(status, reason, "because"))
    with pytest.raises(kind, match="because"):
        connected().ask("GET", "/x")
    connected().addresses()
    assert {one.connection for one in scripted.asked} == {1}


@pytest.mark.parametrize("body", [b"[1]", b"nope", b'"x"'])
def test_an_answer_that_is_no_json_object_is_not_a_sidecars(scripted: ScriptedSidecar, body: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    scripted.script("GET", "/x", Said(raw=raw))
    with pytest.raises(SidecarUnreachable):
        connected().ask("GET", "/x")


def test_nobody_there_is_an_error_that_names_the_address() -> None:
    with pytest.raises(SidecarUnreachable, match=r"127\.0\.0\.1:1"):
        connected().ask("GET", "/x")


def test_after_a_failed_connection_none_is_tried_for_a_moment(job: pytest.MonkeyPatch) -> None:
    now = [100.0]
    tries: list[float] = []

    def connection(*_: object) -> Any:
        tries.append(now[0])
        raise ConnectionRefusedError

    job.setattr(module, "Connection", connection)
    job.setattr(module.time, "monotonic", lambda: now[0])
    for now[0] in (100.0, 100.5, 100.99, 101.1):
        with pytest.raises(SidecarUnreachable):
            connected().ask("GET", "/x")
    assert tries == [100.0, 101.1]


def test_the_addresses_are_asked_once_and_again_after_the_sidecar_was_away(scripted: ScriptedSidecar) -> None:
    one = connected()
    assert one.addresses() is one.addresses()
    assert len(scripted.of("GET", "/v1/addresses")) == 1
    scripted.script("GET", "/x", Said(raw=b"nonsense\r\n\r\n", close=True))
    with pytest.raises(SidecarUnreachable):
        one.ask("GET", "/x")
    one.addresses()
    assert len(scripted.of("GET", "/v1/addresses")) == 2


def test_addresses_that_cannot_be_read_are_an_error(scripted: ScriptedSidecar) -> None:
    scripted.script("GET", "/v1/addresses", Said(200, {"http": 1}))
    with pytest.raises(SidecarUnreachable, match="addresses"):
        connected().addresses()


def test_the_same_settings_give_the_same_sidecar() -> None:
    job = JobEnvironment(proxy="http://127.0.0.1:5", token="a")
    assert sidecar_of(job) is sidecar_of(job)
    assert sidecar_of(job) is not sidecar_of(JobEnvironment(proxy="http://127.0.0.1:5", token="b"))


def test_off_gives_none_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert sidecar_of(JobEnvironment(proxy=None)) is None
    assert "BLUEPRINT_PROXY=off" in caplog.text


def test_an_address_that_cannot_be_meant_is_an_error(job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_PROXY", "localhost:8901")
    with pytest.raises(ConfigurationError):
        sidecar_of()


def test_a_forked_child_begins_with_a_connection_of_its_own(scripted: ScriptedSidecar) -> None:
    one = connected()
    one.addresses()
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            code = len(one._idle)
            one.ask("GET", "/v1/addresses")
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    one.ask("GET", "/v1/addresses")
    assert [asked.connection for asked in scripted.asked] == [1, 2, 1]


def test_proxies_of_the_environment_are_not_for_the_sidecar(scripted: ScriptedSidecar, job: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        job.setenv(name, "http://127.0.0.1:1")
    assert connected().addresses().grpc is None


def test_addresses_that_were_forgotten_are_asked_again(scripted: ScriptedSidecar) -> None:
    connected().addresses()
    connected().addresses()
    connected().forget_addresses()
    connected().addresses()
    assert len(scripted.of("GET", "/v1/addresses")) == 2


@pytest.mark.parametrize(("address", "tls"), [("https://h:1", True), ("http://h:1", False), ("unix:/p", False)])
def test_its_listeners_speak_tls_where_its_address_says_so(job: pytest.MonkeyPatch, address: str, tls: bool) -> None:
    job.setenv("BLUEPRINT_PROXY", address)
    assert connected().tls is tls


def test_a_long_wait_goes_on_while_the_sidecar_answers_something_else(
    scripted: ScriptedSidecar, job: pytest.MonkeyPatch
) -> None:
    job.setattr(module, "SILENCE_S", 0.2)
    alive = threading.Event()

    def lives(_: object) -> Said:
        alive.set()
        return Said(200, {})

    def answer(_: object) -> Said:
        return Said(200, {"waited": alive.wait(10)})

    scripted.script("GET", "/livez", lives)
    scripted.script("POST", "/x", answer)
    assert connected().ask("POST", "/x", {}, patience=60.0) == {"waited": True}


def test_a_sidecar_that_accepts_and_answers_nothing_is_given_up_and_left_alone(job: pytest.MonkeyPatch) -> None:
    job.setattr(module, "SILENCE_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        job.setenv("BLUEPRINT_PROXY", f"http://127.0.0.1:{hung.getsockname()[1]}")
        for said in ("does not answer", "a moment ago"):
            with pytest.raises(SidecarUnreachable, match=said):
                connected().ask("POST", "/x", {}, patience=3600.0)
