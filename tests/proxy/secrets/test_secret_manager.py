"""The real client against a small server of the real API, on real sockets; time that passes is not waited for."""

import asyncio
import datetime as dt
import os
import subprocess
import sys
import threading
import time
import warnings

import pytest
from google.auth.exceptions import DefaultCredentialsError

from blueprint_proxy.config import Secret, SecretManagerSettings
from blueprint_proxy.secrets import secret_manager
from blueprint_proxy.secrets.looking import Found, NotFound
from blueprint_proxy.secrets.secret_manager import FAILURES, TRIES, SecretManager
from support.secret_manager import PROJECT, SecretManagerStandIn


@pytest.fixture
def server():
    with SecretManagerStandIn({"a-key": "first"}) as started:
        yield started


def asking(server, act):
    """What `act(manager)` gives, with a manager that is closed afterwards."""

    async def both():
        manager = SecretManager(SecretManagerSettings(PROJECT, server.endpoint, insecure=True), chance=lambda: 0.0)
        try:
            return await act(manager)
        finally:
            await manager.close()

    return asyncio.run(both())


def accessed(server, *names):
    return asking(server, lambda manager: manager.access(names))


def test_a_secret_comes_with_its_resolved_version(server):
    server.add("a-key", "second")
    assert accessed(server, "a-key") == {"a-key": Found(Secret("second"), "2")}
    assert server.asked == [f"projects/{PROJECT}/secrets/a-key/versions/latest"]


def test_a_pinned_version_is_the_one_that_is_asked_for(server):
    server.add("a-key", "second")
    assert accessed(server, "a-key@1") == {"a-key@1": Found(Secret("first"), "1")}


def test_one_newline_at_the_end_is_dropped(server):
    server.add("a-key", "second\n")
    assert accessed(server, "a-key") == {"a-key": Found(Secret("second"), "2")}


def test_all_are_asked_for_at_once(server):
    server.add("b-key", "b")
    server.hang()

    async def act(manager):
        task = asyncio.get_running_loop().create_task(manager.access(["a-key", "b-key", "c-key"]))
        await asyncio.to_thread(server.wait_for_requests, 3)
        server.go_on()
        return await task

    found = asking(server, act)
    assert {name: type(answer) for name, answer in found.items()} == {"a-key": Found, "b-key": Found, "c-key": NotFound}


def test_a_secret_that_is_not_there_is_an_answer(server):
    (answer,) = accessed(server, "no-such").values()
    assert (answer.passing, answer.why.partition(":")[0]) == (False, "NOT_FOUND")
    assert len(server.asked) == 1


def test_a_disabled_version_is_an_answer(server):
    server.disable("a-key", 1)
    (answer,) = accessed(server, "a-key").values()
    assert (answer.passing, answer.why.partition(":")[0]) == (False, "FAILED_PRECONDITION")


def test_a_missing_grant_may_pass(server):
    server.denied.add("a-key")
    (answer,) = accessed(server, "a-key").values()
    assert (answer.passing, answer.why.partition(":")[0]) == (True, "PERMISSION_DENIED")
    assert len(server.asked) == 1


@pytest.mark.parametrize(("value", "why"), [(b"\xff\xfe", "is not UTF-8 text"), (b"", "is empty"), (b"\n", "is empty")])
def test_a_value_that_is_none_is_told_by_its_version(server, value, why):
    server.add("a-key", value)
    assert accessed(server, "a-key") == {"a-key": NotFound(f"version 2 {why}")}


def test_a_busy_service_is_asked_again(server):
    server.unavailable = TRIES - 1
    assert accessed(server, "a-key") == {"a-key": Found(Secret("first"), "1")}


def test_damaged_data_is_asked_for_again(server):
    server.damaged = TRIES - 1
    assert accessed(server, "a-key") == {"a-key": Found(Secret("first"), "1")}


@pytest.mark.parametrize("damage", [{"damaged": 99}, {"unchecked": True}])
def test_data_that_stays_damaged_or_unchecked_is_never_used(server, damage):
    vars(server).update(damage)
    why = "what came does not match its checksum"
    assert accessed(server, "a-key") == {"a-key": NotFound(why, passing=True)}


def test_a_store_that_is_down_is_no_error(server):
    server.stop()
    (answer,) = accessed(server, "a-key").values()
    assert (answer.passing, answer.why.partition(":")[0]) == (True, "UNAVAILABLE")


@pytest.mark.parametrize("limit", ["TIMEOUT", "PATIENCE"])
def test_a_store_that_hangs_is_left_in_time(server, monkeypatch, limit):
    monkeypatch.setattr(secret_manager, limit, 0.05)
    server.hang()
    (answer,) = accessed(server, "a-key").values()
    assert answer.passing
    assert "DEADLINE_EXCEEDED" in answer.why or answer.why == "no answer within 0.05 s"


def test_a_store_that_hangs_for_one_secret_gives_the_others(server, monkeypatch):
    monkeypatch.setattr(secret_manager, "TRIES", 1)
    server.add("b-key", "b")

    async def act(manager):
        await manager.access(["a-key"])
        server.unavailable = 1
        return await manager.access(["a-key", "b-key"])

    answers = asking(server, act)
    assert {type(answer) for answer in answers.values()} == {Found, NotFound}


async def fail_often(manager, server):
    server.unavailable = 10_000
    for _ in range(FAILURES):
        (answer,) = (await manager.access(["a-key"])).values()
        assert answer == NotFound("UNAVAILABLE: the service is overloaded", passing=True)


def test_after_failures_in_a_row_it_is_left_alone_for_a_while_and_then_asked_again(server, monkeypatch):
    monkeypatch.setattr(secret_manager, "LEFT_ALONE", 0.2)

    async def act(manager):
        await fail_often(manager, server)
        asked = len(server.asked)
        (alone,) = (await manager.access(["a-key"])).values()
        assert len(server.asked) == asked
        server.unavailable = 0
        async with asyncio.timeout(20):
            while not isinstance((await manager.access(["a-key"]))["a-key"], Found):  # noqa: ASYNC110 -- wall clock: no event
                await asyncio.sleep(0.01)
        return alone

    assert asking(server, act) == NotFound("left alone for 0.2 s: it does not answer", passing=True)


def test_a_wall_clock_that_is_set_back_does_not_shut_it_for_longer(server, monkeypatch):
    async def act(manager):
        await fail_often(manager, server)
        server.unavailable = 0
        manager._breaker._state_storage.opened_at = dt.datetime(2999, 1, 1)  # noqa: DTZ001 -- as aiobreaker has it
        asked = len(server.asked)
        assert (await manager.access(["a-key"]))["a-key"].passing
        assert len(server.asked) == asked
        monkeypatch.setattr(secret_manager, "LEFT_ALONE", 0.0)
        await manager.access(["a-key"])
        return await manager.access(["a-key"])

    assert asking(server, act) == {"a-key": Found(Secret("first"), "1")}


def test_answers_that_say_no_do_not_open_the_breaker(server):
    async def act(manager):
        for _ in range(FAILURES + 2):
            await manager.access(["no-such"])
        return await manager.access(["a-key"])

    assert asking(server, act) == {"a-key": Found(Secret("first"), "1")}


def test_a_half_open_breaker_lets_one_batch_through_at_a_time(server, monkeypatch):
    monkeypatch.setattr(secret_manager, "LEFT_ALONE", 0.000_001)
    monkeypatch.setattr(secret_manager, "TRIES", 1)
    inside = []

    async def act(manager):
        await fail_often(manager, server)
        server.unavailable = 0
        batch = manager._batch

        async def watched(names):
            inside.append(1)
            seen.append(len(inside))
            try:
                return await batch(names)
            finally:
                inside.pop()

        monkeypatch.setattr(manager, "_batch", watched)
        return await asyncio.gather(*(manager.access(["a-key"]) for _ in range(20)))

    seen = []
    assert asking(server, act) == [{"a-key": Found(Secret("first"), "1")}] * 20
    assert seen == [1] * 20


def test_a_cancelled_batch_is_no_failure(server):
    async def act(manager):
        server.hang()
        for number in range(FAILURES + 1):
            task = asyncio.get_running_loop().create_task(manager.access(["a-key"]))
            await asyncio.to_thread(server.wait_for_requests, number + 1)
            task.cancel()
            await asyncio.wait([task])
        server.go_on()
        return await manager.access(["a-key"])

    assert asking(server, act) == {"a-key": Found(Secret("first"), "1")}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "UTC"])
def test_the_breaker_opens_and_closes_in_every_time_zone(server, monkeypatch, zone):
    before = os.environ.get("TZ")  # noqa: TID251 -- put back below, with tzset
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        test_after_failures_in_a_row_it_is_left_alone_for_a_while_and_then_asked_again(server, monkeypatch)
    finally:
        monkeypatch.delenv("TZ") if before is None else monkeypatch.setenv("TZ", before)
        time.tzset()


def test_aiobreakers_warning_of_later_pythons_is_no_error():
    async def act():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            SecretManager(SecretManagerSettings(PROJECT), chance=lambda: 0.0)
            warnings.warn(
                "datetime.datetime.utcnow() is deprecated and scheduled ...", DeprecationWarning, stacklevel=1
            )

    asyncio.run(act())


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff\xfes3cr3t", None])
def test_credentials_that_are_none_are_no_error_and_are_not_quoted(monkeypatch, tmp_path, content):
    file = tmp_path / "credentials.json"
    file.mkdir() if content is None else file.write_bytes(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    async def act():
        manager = SecretManager(SecretManagerSettings(PROJECT), chance=lambda: 0.0)
        try:
            return await manager.access(["a-key"])
        finally:
            await manager.close()

    (answer,) = asyncio.run(act()).values()
    assert answer.passing
    assert answer.why.startswith("no Google credentials to ask with: ")
    assert "s3cr3t" not in answer.why


def test_without_google_credentials_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    async def act():
        manager = SecretManager(SecretManagerSettings(PROJECT), chance=lambda: 0.0)
        (answer,) = (await manager.access(["a-key"])).values()
        await manager.close()
        return answer

    answer = asyncio.run(act())
    assert answer.passing
    assert answer.why.startswith("no Google credentials to ask with: File ")


def test_nothing_imports_it_before_it_is_asked():
    code = "import sys, blueprint_proxy.app; print([m for m in sys.modules if m in ('grpc', 'google.auth')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_search_for_google_credentials_that_takes_long_is_waited_for_only_so_long_and_goes_on(monkeypatch):
    found, searches = threading.Event(), []

    def search(**_):
        searches.append(1)
        found.wait(20)
        raise DefaultCredentialsError("nowhere")

    monkeypatch.setattr(secret_manager.google.auth, "default", search)
    monkeypatch.setattr(secret_manager, "PATIENCE", 0.05)

    async def act():
        manager = SecretManager(SecretManagerSettings(PROJECT), chance=lambda: 0.0)
        first = (await manager.access(["a-key"]))["a-key"]
        monkeypatch.setattr(secret_manager, "PATIENCE", 20.0)
        found.set()
        second = (await manager.access(["a-key"]))["a-key"]
        await manager.close()
        return first.why, second.why

    assert asyncio.run(act()) == ("no answer within 0.05 s", "no Google credentials to ask with: nowhere")
    assert len(searches) == 1
