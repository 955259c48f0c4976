"""One job's connection, on a remembered transport and virtual time. Real sockets are for tests/end_to_end/http."""

from __future__ import annotations

import asyncio

import pytest

from blueprint_proxy.bodies.request import RequestBody
from blueprint_proxy.bodies.stream import BodyStream
from blueprint_proxy.calls import Reply
from blueprint_proxy.errors import JobLeft, Reason, Refusal, UpstreamTruncated
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.inbound.http1 import IDLE_TIME, LINGER_TIME, STALL_TIME
from support.server_connection import Served, connect, ok
from support.virtual_time import virtual_time

GET = b"GET /it/thing HTTP/1.1\r\nHost: here:1\r\n\r\n"


async def answers_at_once(call):
    return ok(call.target)


class Flow:
    def __init__(self):
        self.asked = []

    def pause_body(self):
        self.asked.append("pause")

    def resume_body(self):
        self.asked.append("resume")

    def abandon_body(self):
        self.asked.append("abandon")


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@virtual_time
async def test_a_request_becomes_a_call_and_its_reply_is_written():
    served = Served(answers_at_once)
    connection, transport, _ = connect(served)
    connection.data_received(GET)
    await settle()
    assert (served.calls[0].method, served.calls[0].target) == ("GET", b"/thing")
    head, _, body = transport.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"/thing"
    assert transport.ended == []


@virtual_time
async def test_a_request_in_single_bytes_is_the_same_request():
    served = Served(answers_at_once)
    connection, transport, _ = connect(served)
    for byte in GET:
        connection.data_received(bytes([byte]))
    await settle()
    assert transport.take().endswith(b"/thing")


@virtual_time
async def test_pipelined_requests_are_answered_one_at_a_time_and_in_order():
    let_go = [asyncio.Event(), asyncio.Event()]
    begun = []

    async def answer(call):
        number = len(begun)
        begun.append(call.target)
        await let_go[number].wait()
        return ok(call.target)

    connection, transport, _ = connect(Served(answer))
    connection.data_received(GET + GET.replace(b"thing", b"other"))
    await settle()
    assert begun == [b"/thing"]
    let_go[0].set()
    await settle()
    assert begun == [b"/thing", b"/other"]
    let_go[1].set()
    await settle()
    written = transport.take()
    assert written.index(b"/thing") < written.index(b"/other")


@virtual_time
async def test_a_reply_that_streams_without_length_is_chunked_for_http11():
    stream = BodyStream(Flow())

    async def answer(call):
        return Reply(200, Fields(), stream)

    connection, transport, _ = connect(Served(answer))
    connection.data_received(GET)
    await settle()
    assert b"Transfer-Encoding: chunked" in transport.take()
    stream.feed(b"event")
    assert transport.take() == b"5\r\nevent\r\n"
    stream.end(Fields(b"X-Sum: 1\r\n"))
    assert transport.take() == b"0\r\nX-Sum: 1\r\n\r\n"


@virtual_time
async def test_a_reply_that_is_cut_short_ends_the_connection_without_its_last_chunk():
    stream = BodyStream(Flow())

    async def answer(call):
        return Reply(200, Fields(), stream)

    connection, transport, _ = connect(Served(answer))
    connection.data_received(GET)
    await settle()
    stream.feed(b"half")
    stream.fail(UpstreamTruncated("cut", sent=True))
    assert not transport.take().endswith(b"0\r\n\r\n")
    assert transport.ended == ["close"]


@virtual_time
async def test_a_cut_reply_to_http10_is_reset_and_never_closed_cleanly():
    stream = BodyStream(Flow())

    async def answer(call):
        return Reply(200, Fields(), stream)

    connection, transport, _ = connect(Served(answer))
    connection.data_received(b"GET /it/thing HTTP/1.0\r\n\r\n")
    await settle()
    stream.feed(b"half")
    stream.fail(UpstreamTruncated("cut", sent=True))
    assert transport.ended == ["abort"]


@virtual_time
async def test_a_slow_job_pauses_the_reply_and_takes_it_up_again():
    flow = Flow()
    stream = BodyStream(flow)

    async def answer(call):
        return Reply(200, Fields(), stream)

    connection, _, _ = connect(Served(answer))
    connection.data_received(GET)
    await settle()
    connection.pause_writing()
    connection.resume_writing()
    assert flow.asked == ["pause", "resume"]


@virtual_time
async def test_a_job_that_leaves_cancels_its_call():
    cancelled = asyncio.Event()

    async def answer(call):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    connection, _, listener = connect(Served(answer))
    connection.data_received(GET)
    await settle()
    connection.connection_lost(None)
    await settle()
    assert cancelled.is_set()
    assert listener.quiet.is_set()


@virtual_time
async def test_a_job_that_leaves_in_the_middle_of_a_reply_abandons_it():
    flow = Flow()
    stream = BodyStream(flow)

    async def answer(call):
        return Reply(200, Fields(), stream)

    connection, _, _ = connect(Served(answer))
    connection.data_received(GET)
    await settle()
    connection.connection_lost(None)
    assert flow.asked == ["abandon"]
    assert isinstance(stream.error, JobLeft)


@virtual_time
async def test_a_half_close_after_the_request_still_gets_its_answer():
    let_go = asyncio.Event()

    async def answer(call):
        await let_go.wait()
        return ok()

    connection, transport, _ = connect(Served(answer))
    connection.data_received(GET)
    assert connection.eof_received() is True
    let_go.set()
    await settle()
    assert transport.take().endswith(b"fine")
    assert transport.ended == ["close"]


@virtual_time
async def test_an_end_in_the_middle_of_a_request_body_fails_the_body():
    served = Served(answers_at_once)
    bodies = []

    def make_body(head, flow):
        bodies.append(RequestBody(flow, head.length))
        return bodies[0]

    served.make_body = make_body
    served.answer = lambda call: asyncio.Event().wait()  # type: ignore[assignment,return-value]
    connection, _, _ = connect(served)
    connection.data_received(b"POST /it/x HTTP/1.1\r\nHost: here:1\r\nContent-Length: 10\r\n\r\nhalf")
    await settle()
    assert connection.eof_received() is False
    assert bodies[0].over
    assert bodies[0].received == 4


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /it/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /it/x HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /it/x HTTP/1.1\nHost: a\n\n", 400),
    ],
)
@virtual_time
async def test_what_is_not_http_is_answered_and_the_connection_closed(head, status):
    served = Served(answers_at_once)
    connection, transport, _ = connect(served)
    connection.data_received(head + GET)
    await settle()
    written = transport.take()
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in written
    assert transport.ended == ["eof"]
    assert served.calls == []
    await asyncio.sleep(LINGER_TIME + 1)
    assert transport.ended == ["eof", "abort"]


@virtual_time
async def test_an_early_reply_closes_without_reading_the_rest_of_the_body():
    served = Served(answers_at_once)
    served.make_body = lambda head, flow: RequestBody(flow, head.length)
    connection, transport, _ = connect(served)
    connection.data_received(b"POST /it/x HTTP/1.1\r\nHost: here:1\r\nContent-Length: 10\r\n\r\nhalf")
    await settle()
    assert b"Connection: close" in transport.take()
    assert transport.ended == ["eof"]


@virtual_time
async def test_a_waiting_job_is_told_to_go_on_when_the_upstream_says_nothing():
    served = Served(lambda call: asyncio.Event().wait())  # type: ignore[arg-type,return-value]
    served.make_body = lambda head, flow: RequestBody(flow, head.length, expects_continue=True)
    connection, transport, _ = connect(served)
    connection.data_received(b"PUT /it/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    await settle()
    assert transport.take() == b""
    await asyncio.sleep(2)
    assert transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.connection_lost(None)


@virtual_time
async def test_a_silent_job_in_the_middle_of_a_body_is_cut_off():
    served = Served(lambda call: asyncio.Event().wait())  # type: ignore[arg-type,return-value]
    served.make_body = lambda head, flow: RequestBody(flow, head.length)
    connection, transport, _ = connect(served)
    connection.data_received(b"PUT /it/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
    await asyncio.sleep(STALL_TIME - 1)
    assert transport.ended == []
    await asyncio.sleep(STALL_TIME + 2)
    assert transport.ended == ["abort"]
    connection.connection_lost(None)


@virtual_time
async def test_an_idle_connection_is_closed_in_the_end():
    connection, transport, _ = connect(Served(answers_at_once))
    connection.data_received(GET)
    await asyncio.sleep(IDLE_TIME - 1)
    assert transport.ended == []
    await asyncio.sleep(2 * IDLE_TIME)
    assert transport.ended == ["close"]


@virtual_time
async def test_a_head_that_never_ends_is_answered_with_408():
    connection, transport, _ = connect(Served(answers_at_once))
    connection.data_received(b"GET /it/thing HTTP/1.1\r\n")
    await asyncio.sleep(65)
    assert transport.take().startswith(b"HTTP/1.1 408 ")


@virtual_time
async def test_a_job_that_does_not_read_its_answers_is_not_asked_for_more():
    served = Served(answers_at_once)
    connection, transport, _ = connect(served)
    connection.pause_writing()
    connection.data_received(GET * 4000)
    await settle()
    assert served.calls == []
    assert transport.reading is False
    connection.resume_writing()
    await settle()
    assert served.calls
    connection.connection_lost(None)


@virtual_time
async def test_a_refusal_carries_its_reason_and_keeps_the_connection():
    async def answer(call):
        raise Refusal(Reason.BREAKER_OPEN, "left alone", retry_after=2.2, sent=False)

    connection, transport, _ = connect(Served(answer))
    connection.data_received(GET)
    await settle()
    written = transport.take()
    assert b"x-blueprint-error: breaker_open" in written
    assert b"retry-after: 3" in written
    assert transport.ended == []


@virtual_time
async def test_an_invalid_request_id_is_neither_kept_nor_passed_on():
    served = Served(answers_at_once)
    connection, transport, _ = connect(served)
    connection.data_received(GET[:-2] + b"X-Request-Id: a b\r\n\r\n")
    await settle()
    assert served.calls[0].headers.get(b"x-request-id") is None
    assert b"x-request-id: a b" not in transport.take()
