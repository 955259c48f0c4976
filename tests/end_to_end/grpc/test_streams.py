"""Streams of every arity through the proxy."""

import queue
import threading
import time

import grpc
import pytest

from support.rpc_upstream import PATIENCE, pairs, value, wait_until

pytestmark = pytest.mark.end_to_end


class Sending:
    """Requests that a test hands in one at a time; `None` half-closes."""

    def __init__(self):
        self._queue = queue.Queue()

    def __iter__(self):
        return self

    def __next__(self):
        message = self._queue.get()
        if message is None:
            raise StopIteration
        return message

    def send(self, message):
        self._queue.put(message)


def test_all_four_arities_pass(shared):
    it = shared

    def count(messages, context, heard):
        yield str(sum(map(int, messages))).encode()

    def down(messages, context, heard):
        for number in range(int(next(messages))):
            yield str(number).encode()

    it.server.on("/s.T/sum", count)
    it.server.on("/s.T/down", down)
    assert it.channel.unary_unary("/s.T/one")(b"1") == b"1"
    assert it.channel.stream_unary("/s.T/sum")(iter([b"1", b"2", b"3"])) == b"6"
    assert list(it.channel.unary_stream("/s.T/down")(b"3")) == [b"0", b"1", b"2"]
    assert list(it.channel.stream_stream("/s.T/chat")(iter([b"a", b"b"]))) == [b"a", b"b"]


def test_messages_go_both_ways_as_they_come(shared):
    it = shared
    sending = Sending()
    replies = it.stream()(sending)
    for message in (b"one", b"", b"three" * 100_000):
        sending.send(message)
        assert next(replies) == message
    sending.send(None)
    assert list(replies) == []
    assert replies.code() is grpc.StatusCode.OK


def test_initial_metadata_comes_before_the_first_message(shared):
    it = shared
    go_on = threading.Event()

    def behave(messages, context, heard):
        context.send_initial_metadata((("i", "1"), ("i", "2"), ("i-bin", b"\0\xff")))
        assert go_on.wait(PATIENCE)
        context.set_trailing_metadata((("t", "1"), ("t", "2")))
        yield b"late"

    it.server.on("/s.T/early", behave)
    replies = it.channel.unary_stream("/s.T/early")(b"")
    assert pairs(replies.initial_metadata()) == [("i", "1"), ("i", "2"), ("i-bin", b"\0\xff")]
    go_on.set()
    assert list(replies) == [b"late"]
    assert [found for key, found in pairs(replies.trailing_metadata()) if key == "t"] == ["1", "2"]


def test_the_jobs_half_close_reaches_the_upstream_while_replies_go_on(shared):
    it = shared
    go_on = threading.Event()

    def behave(messages, context, heard):
        heard.messages += list(messages)
        yield b"all in"
        assert go_on.wait(PATIENCE)
        yield b"more"

    it.server.on("/s.T/half", behave)
    replies = it.stream("/s.T/half")(iter([b"1", b"2"]))
    assert next(replies) == b"all in"
    assert it.server.heard[0].messages == [b"1", b"2"]
    go_on.set()
    assert list(replies) == [b"more"]


def test_the_upstream_may_end_before_the_job_has_said_all(shared):
    it = shared

    def behave(messages, context, heard):
        yield next(messages)

    it.server.on("/s.T/short", behave)
    sending = Sending()
    replies = it.stream("/s.T/short")(sending)
    sending.send(b"1")
    assert list(replies) == [b"1"]
    assert replies.code() is grpc.StatusCode.OK
    sending.send(None)


def test_an_error_in_the_middle_comes_as_it_is_after_what_was_before_it(shared):
    it = shared

    def behave(messages, context, heard):
        yield b"1"
        yield b"2"
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x09\xff"),))
        context.abort(grpc.StatusCode.DATA_LOSS, "kaputt ☃")

    it.server.on("/s.T/breaks", behave)
    replies = it.channel.unary_stream("/s.T/breaks")(b"")
    got = []
    with pytest.raises(grpc.RpcError) as caught:
        got += replies  # one at a time: what came before the error is kept
    assert got == [b"1", b"2"]
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "kaputt ☃")
    assert value(caught.value.trailing_metadata(), "grpc-status-details-bin") == b"\x08\x09\xff"
    assert value(caught.value.trailing_metadata(), "x-blueprint-source") == "upstream"


def test_a_job_that_cancels_cancels_the_upstreams_call(shared):
    it = shared

    def behave(messages, context, heard):
        yield b"begun"
        heard.over.wait(PATIENCE)

    for method in ("/s.T/cancel", "/a.B/cancel"):
        it.server.on(method, behave)
    replies = it.stream("/s.T/cancel")(Sending())
    assert next(replies) == b"begun"
    replies.cancel()
    assert it.server.wait_for(1).over.wait(PATIENCE)
    future = it.unary("/a.B/cancel").future(b"")
    heard = it.server.wait_for(2)
    future.cancel()
    assert heard.over.wait(PATIENCE)
    wait_until(lambda: [seen.frame.error_code for seen in it.tap.frames("up", "RstStream")][-2:] == [8, 8])


def test_a_job_that_dies_cancels_the_upstreams_call(scene):
    it = scene()

    def behave(messages, context, heard):
        yield b"begun"
        heard.over.wait(PATIENCE)

    it.server.on("/s.T/chat", behave)
    channel = it.open()
    replies = channel.stream_stream("/s.T/chat")(Sending())
    assert next(replies) == b"begun"
    channel.close()
    assert it.server.wait_for(1).over.wait(PATIENCE)


def test_an_upstream_that_cancels_is_seen_as_cancelled(shared):
    it = shared

    def behave(messages, context, heard):
        yield b"1"
        context.abort(grpc.StatusCode.CANCELLED, "not today")

    it.server.on("/s.T/no", behave)
    replies = it.stream("/s.T/no")(Sending())
    assert next(replies) == b"1"
    with pytest.raises(grpc.RpcError) as caught:
        next(replies)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.CANCELLED, "not today")


def test_a_thousand_streams_run_at_once(scene):
    it = scene(server={"workers": 1100})
    everybody = threading.Barrier(1001)

    def behave(messages, context, heard):
        yield next(messages)
        everybody.wait(60)
        yield from messages

    it.server.on("/s.T/chat", behave)
    channels = [it.open() for _ in range(4)]
    before = it.proxy.rss()
    sendings = [Sending() for _ in range(1000)]
    calls = [channels[number % 4].stream_stream("/s.T/chat")(sending) for number, sending in enumerate(sendings)]
    for number, sending in enumerate(sendings):
        sending.send(b"%d" % number)
    for number, call in enumerate(calls):
        assert next(call) == b"%d" % number
    each = (it.proxy.rss() - before) / 1000
    everybody.wait(60)
    for sending in sendings:
        sending.send(b"again")
        sending.send(None)
    for call in calls:
        assert list(call) == [b"again"]
    assert each < 200 * 1024, f"{each:.0f} bytes a stream"
    assert len(it.tap.connections) == 1


def test_a_slow_reader_holds_its_sender_back_and_its_siblings_go_on(scene):
    it = scene()
    sent = []

    def flood(messages, context, heard):
        for number in range(4000):
            sent.append(number)
            yield bytes(64 * 1024)

    it.server.on("/s.T/flood", flood)
    before = it.proxy.rss()
    slow = it.channel.unary_stream("/s.T/flood")(b"")
    next(slow)
    seen = -1
    while seen != len(sent):  # until the flood stands still
        seen = len(sent)
        time.sleep(0.3)
    assert seen < 1000, f"{seen} messages of 64 KiB went nowhere"
    assert it.proxy.rss() - before < 64 * 1024 * 1024
    began = time.monotonic()
    for channel in (it.channel, it.open()):  # on the slow one's connection, and beside it
        assert channel.unary_unary("/a.B/c")(bytes(1024 * 1024)) == bytes(1024 * 1024)
    assert time.monotonic() - began < 5
    assert sum(1 for _ in slow) == 3999
    assert len(it.tap.connections) == 1


def test_a_slow_upstream_holds_the_job_back(scene):
    it = scene()
    go_on = threading.Event()

    def slow(messages, context, heard):
        heard.messages.append(next(messages))
        assert go_on.wait(PATIENCE)
        yield str(sum(map(len, messages))).encode()

    it.server.on("/s.T/slow", slow)
    sent = []

    def requests():
        for number in range(2000):
            sent.append(number)
            yield bytes(64 * 1024)

    before = it.proxy.rss()
    future = it.channel.stream_unary("/s.T/slow").future(requests())
    it.server.wait_for(1)
    seen = -1
    while seen != len(sent):
        seen = len(sent)
        time.sleep(0.3)
    assert seen < 1000
    assert it.proxy.rss() - before < 64 * 1024 * 1024
    assert it.unary()(b"sibling") == b"sibling"
    go_on.set()
    assert future.result(PATIENCE) == str(1999 * 64 * 1024).encode()


def test_an_idle_stream_stays_open_and_silent_on_the_wire(scene):
    it = scene({"breaker": {"age": "300ms", "min_calls": 10_000, "consecutive": 10_000}})
    sending = Sending()
    replies = it.stream()(sending)
    sending.send(b"1")
    assert next(replies) == b"1"
    time.sleep(0.5)  # what belongs to the message, such as pings and windows
    frames = len(it.tap.frames())
    time.sleep(1.5)  # longer than the breaker's age: an open stream is no hang
    assert len(it.tap.frames()) == frames
    sending.send(b"2")
    assert next(replies) == b"2"
    sending.send(None)
    assert list(replies) == []


def test_the_idle_limit_ends_a_stream_only_where_it_is_set(scene):
    it = scene({"timeouts": {"idle": "300ms"}})
    replies = it.stream()(Sending())
    with pytest.raises(grpc.RpcError) as caught:
        next(replies)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "idle timeout of 0.3 s" in caught.value.details()
    assert it.server.wait_for(1).over.wait(PATIENCE)


def test_a_message_over_the_limit_ends_the_stream_with_too_large(scene):
    it = scene({"message_limit": "1MiB"})
    sending = Sending()
    replies = it.stream()(sending)
    sending.send(bytes(1024 * 1024))
    assert len(next(replies)) == 1024 * 1024
    sending.send(bytes(1024 * 1024 + 1))
    with pytest.raises(grpc.RpcError) as caught:
        next(replies)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
