"""The breaker as a job meets it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from support.wire import PATIENCE, reply, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.raw_upstream import UpstreamConnection
    from support.stage import Stage
    from support.wire import Reply, Request


def call_until(stage: Stage, wanted: Callable[[Reply], bool]) -> Reply:
    """Calls again and again, as jobs do, until an answer is as wanted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = stage.call("GET", "/thing", ("x-blueprint-timeout-ms", "3000"))
        if wanted(answer):
            return answer
        assert time.monotonic() < deadline, f"still {answer.status} {answer.error}"
        time.sleep(0.01)


def open_by_failures(stage: Stage) -> None:
    for _ in range(3):
        assert stage.call("GET", "/thing").status == 500
    assert stage.call("GET", "/thing").error == "breaker_open"


def test_consecutive_failures_open_it_and_refusals_come_at_once(touchy: Stage) -> None:
    touchy.upstream.answer(reply(500))
    for _ in range(3):
        assert touchy.call().status == 500
    answer = touchy.call()
    assert (answer.status, answer.error) == (503, "breaker_open")
    assert answer.value("retry-after")
    assert answer.value("x-blueprint-source") == b"proxy"
    assert answer.value("x-blueprint-not-sent") == b"true"
    assert len(touchy.upstream.requests) == 3


def test_the_callers_fault_does_not_open_it(touchy: Stage) -> None:
    touchy.upstream.answer(reply(404))
    for _ in range(10):
        assert touchy.call().status == 404


def test_a_success_between_failures_keeps_it_closed(touchy: Stage) -> None:
    touchy.upstream.serve(lambda _, __: reply(200 if len(touchy.upstream.requests) % 3 == 0 else 500))
    assert [touchy.call().status for _ in range(9)] == [500, 500, 200] * 3


def test_it_recovers_by_itself(touchy: Stage) -> None:
    touchy.upstream.answer(reply(500))
    open_by_failures(touchy)
    touchy.upstream.answer(reply(200, b"well again"))
    assert call_until(touchy, lambda answer: answer.status == 200).body == b"well again"


def test_a_hanging_upstream_opens_it_though_nothing_has_failed_yet(ageing: Stage) -> None:
    healthy = threading.Event()

    def handle(_: Request, connection: UpstreamConnection) -> bytes:
        if not healthy.is_set():
            connection.wait_closed()
        return reply(200, b"well again")

    ageing.upstream.serve(handle)
    hung = ageing.client()
    hung.send(request("GET", ageing.path()))
    ageing.upstream.wait_for_requests(1)
    deadline = time.monotonic() + PATIENCE
    while True:
        # The caller's short deadline frees a call that went in before the breaker opened.
        answer = ageing.call("GET", "/thing", ("x-blueprint-timeout-ms", "50"))
        if answer.error == "breaker_open":
            break
        assert answer.error == "deadline_exceeded"
        assert time.monotonic() < deadline
    assert answer.value("retry-after")
    hung.assert_open()  # nothing has failed yet
    healthy.set()
    assert call_until(ageing, lambda one: one.status == 200).body == b"well again"


def test_fifty_callers_bring_no_more_than_the_permitted_probes(touchy: Stage) -> None:
    lock = threading.Lock()
    here = most = 0
    release = threading.Event()

    def handle(_: Request, connection: UpstreamConnection) -> bytes:
        nonlocal here, most
        if not failing.is_set():
            with lock:
                here += 1
                if not release.is_set():
                    most = max(most, here)
            connection.wait(release)
            with lock:
                here -= 1
            return reply(200)
        return reply(500)

    failing = threading.Event()
    failing.set()
    touchy.upstream.serve(handle)
    open_by_failures(touchy)
    failing.clear()
    refused = threading.Barrier(49)  # 50 callers, two of them with a probe: the barrier has room for the test itself

    def caller(_: int) -> int:
        client = touchy.proxy.client()
        told = False
        try:
            while True:
                answer = client.call("GET", touchy.path())
                if answer.status == 200:
                    return answer.status
                assert answer.error == "breaker_open", answer.error
                if not told and here >= 2:
                    told = True
                    refused.wait(PATIENCE)
                time.sleep(0.01)
        finally:
            client.close()

    with ThreadPoolExecutor(50) as callers:
        answers = [callers.submit(caller, number) for number in range(50)]
        try:
            refused.wait(PATIENCE)
        finally:
            release.set()
        assert [answer.result() for answer in answers] == [200] * 50
    assert most == 2


def test_a_call_beyond_the_queue_is_refused_unsent(narrow: Stage) -> None:
    release = threading.Event()

    def handle(sent: Request, connection: UpstreamConnection) -> bytes:
        connection.wait(release)
        return reply(200, sent.target)

    narrow.upstream.serve(handle)
    first, second = narrow.client(), narrow.client()
    first.send(request("GET", narrow.path("/first")))
    narrow.upstream.wait_for_requests(1)
    second.send(request("GET", narrow.path("/second")))
    refused = None
    deadline = time.monotonic() + PATIENCE
    while refused is None:
        # The second call is in the queue once a third one finds no room; until then the third waits in its place.
        third = narrow.call("GET", "/third", ("x-blueprint-timeout-ms", "50"))
        refused = third if third.error == "overloaded" else None
        assert time.monotonic() < deadline
    assert refused.status == 503
    assert refused.value("x-blueprint-not-sent") == b"true"
    release.set()
    assert first.read_reply().body == b"/first"
    assert second.read_reply().body == b"/second"
    assert [sent.target for sent in narrow.upstream.requests] == [b"/first", b"/second"]
