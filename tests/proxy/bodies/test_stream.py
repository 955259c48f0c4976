"""A reply's body between its two connections."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.bodies.stream import HELD, BodyStream
from blueprint_proxy.errors import JobLeft, Reason, Refusal, UpstreamTruncated
from blueprint_proxy.http1.fields import Fields
from support.virtual_time import virtual_time

TRAILERS = Fields(b"x-sum: 1\r\n")
CUT = UpstreamTruncated("cut", sent=True)


class Producer:
    """The connection that brings the body: counts what it is asked."""

    def __init__(self):
        self.paused = False
        self.asked = []

    def pause_body(self):
        self.paused = True
        self.asked.append("pause")

    def resume_body(self):
        self.paused = False
        self.asked.append("resume")

    def abandon_body(self):
        self.asked.append("abandon")


class Taker:
    """The connection that takes it: keeps what came, and in which order it ended."""

    def __init__(self, stream=None, *, full_after=None):
        self.stream = stream
        self.full_after = full_after
        self.pieces = []
        self.ends = []

    @property
    def bytes(self):
        return b"".join(self.pieces)

    def body_data(self, data):
        assert not self.ends
        self.pieces.append(data)
        if self.full_after is not None and len(self.bytes) > self.full_after:
            self.stream.pause()

    def body_end(self, trailers):
        self.ends.append(trailers)

    def body_failed(self, error):
        self.ends.append(error)


@pytest.fixture
def producer():
    return Producer()


@pytest.fixture
def stream(producer):
    return BodyStream(producer)


def test_a_piece_reaches_the_sink_in_the_same_turn(stream):
    taker = Taker()
    stream.attach(taker)
    stream.feed(b"event")
    assert taker.pieces == [b"event"]
    assert stream.received == 5


def test_what_came_before_the_sink_is_given_to_it_in_order(stream):
    taker = Taker()
    stream.feed(b"one")
    stream.feed(b"two")
    stream.attach(taker)
    stream.feed(b"three")
    assert taker.pieces == [b"one", b"two", b"three"]


def test_64_kib_wait_for_a_sink_and_more_pauses_the_producer(stream, producer):
    stream.feed(bytes(HELD))
    assert not producer.paused
    stream.feed(b"!")
    assert producer.paused


def test_a_sink_resumes_the_producer_that_waited_for_one(stream, producer):
    stream.feed(bytes(HELD + 1))
    stream.attach(Taker())
    assert not producer.paused


def test_a_producer_that_was_not_paused_is_not_resumed(stream, producer):
    stream.feed(b"little")
    stream.attach(Taker())
    assert producer.asked == []


def test_a_sink_that_is_full_with_what_was_held_keeps_the_producer_paused(stream, producer):
    stream.feed(bytes(HELD))
    stream.feed(b"!")
    stream.attach(Taker(stream, full_after=HELD - 1))
    assert producer.paused
    stream.resume()
    assert not producer.paused


def test_a_sink_passes_its_back_pressure_on(stream, producer):
    stream.attach(Taker())
    stream.pause()
    assert producer.paused
    stream.resume()
    assert not producer.paused


def test_a_body_that_is_over_asks_its_producer_nothing(stream, producer):
    stream.feed(bytes(2 * HELD))
    stream.end(TRAILERS)
    producer.asked.clear()
    stream.attach(Taker())
    stream.pause()
    stream.resume()
    stream.abandon()
    assert producer.asked == []


@pytest.mark.parametrize("attached", [True, False])
def test_the_end_comes_after_all_pieces_with_the_trailers(stream, attached):
    taker = Taker()
    if attached:
        stream.attach(taker)
    stream.feed(b"all")
    stream.end(TRAILERS)
    if not attached:
        stream.attach(taker)
    assert taker.bytes == b"all"
    assert taker.ends == [TRAILERS]
    assert stream.over
    assert stream.error is None


@pytest.mark.parametrize("attached", [True, False])
def test_a_body_cut_short_fails_after_the_pieces_that_came(stream, attached):
    taker = Taker()
    if attached:
        stream.attach(taker)
    stream.feed(b"half")
    stream.fail(CUT)
    if not attached:
        stream.attach(taker)
    assert taker.bytes == b"half"
    assert taker.ends == [CUT]


@given(ends=st.lists(st.sampled_from(["end", "fail", "abandon", "limit"]), min_size=1), late=st.booleans())
def test_a_body_ends_once_whoever_ends_it_again(ends, late):
    stream, taker, heard = BodyStream(Producer()), Taker(), []
    limit = Refusal(Reason.DEADLINE_EXCEEDED, "too late")
    stream.when_over(heard.append)
    if not late:
        stream.attach(taker)
    for end in ends:
        if end == "end":
            stream.end(TRAILERS)
        elif end == "fail":
            stream.fail(CUT)
        else:
            stream.abandon(limit if end == "limit" else None)
    stream.when_over(heard.append)
    expected = {"end": None, "fail": CUT, "limit": limit}.get(ends[0], stream.error)
    assert heard == [expected, expected]
    assert stream.error is expected
    if late:
        stream.attach(taker)
    if ends[0] == "abandon":
        assert isinstance(expected, JobLeft)
    if ends[0] != "abandon" or late:
        assert taker.ends == [TRAILERS if expected is None else expected]
    else:
        assert taker.ends == []


def test_watchers_hear_of_the_end_after_the_sink_and_in_their_order(stream):
    heard = []
    taker = Taker()
    stream.attach(taker)
    stream.when_over(lambda error: heard.append(("first", error, list(taker.ends))))
    stream.when_over(lambda error: heard.append(("second", error, list(taker.ends))))
    stream.fail(CUT)
    assert heard == [("first", CUT, [CUT]), ("second", CUT, [CUT])]


def test_a_watcher_may_watch_from_its_own_call(stream):
    heard = []
    stream.when_over(lambda _: stream.when_over(heard.append))
    stream.end(TRAILERS)
    assert heard == [None]


def test_abandoning_tells_the_producer_once_and_not_the_sink_that_left(stream, producer):
    taker = Taker()
    stream.attach(taker)
    stream.abandon()
    stream.abandon()
    assert producer.asked == ["abandon"]
    assert taker.ends == []
    assert isinstance(stream.error, JobLeft)


def test_a_limit_that_ends_the_body_is_told_to_the_sink(stream, producer):
    taker = Taker()
    limit = Refusal(Reason.DEADLINE_EXCEEDED, "too late")
    stream.attach(taker)
    stream.abandon(limit)
    assert producer.asked == ["abandon"]
    assert taker.ends == [limit]


@pytest.mark.parametrize("error", [None, CUT])
def test_what_comes_after_the_end_goes_nowhere(stream, error):
    taker = Taker()
    stream.attach(taker)
    stream.abandon(error)
    stream.feed(b"late")
    assert taker.pieces == []
    stream.attach(other := Taker())
    assert other.pieces == []


def test_a_sink_that_is_broken_off_in_what_was_held_hears_of_it_once(stream):
    limit = Refusal(Reason.DEADLINE_EXCEEDED, "too late")

    class Breaking(Taker):
        def body_data(self, data):
            super().body_data(data)
            stream.abandon(limit)

    taker = Breaking()
    stream.feed(b"one")
    stream.attach(taker)
    assert taker.ends == [limit]


# whole()

CHUNKS = st.lists(st.binary(min_size=1, max_size=12), max_size=12)


@given(chunks=CHUNKS, held=st.integers(0, 12), limit=st.integers(0, 80), ends_before=st.booleans())
def test_whole_gives_a_body_that_fits_and_leaves_any_other_a_stream(chunks, held, limit, ends_before):
    @virtual_time
    async def run():
        loop = asyncio.get_running_loop()
        producer = Producer()
        stream = BodyStream(producer)
        body = b"".join(chunks)

        def finish():
            for chunk in chunks[held:]:
                stream.feed(chunk)
            stream.end(TRAILERS)
            finished.set()

        finished = asyncio.Event()
        for chunk in chunks[:held]:
            stream.feed(chunk)
        if ends_before:
            finish()
        else:
            loop.call_soon(finish)
        whole = await stream.whole(limit)
        if len(body) <= limit:
            assert whole == body
            return
        assert whole is None
        taker = Taker()
        stream.attach(taker)
        assert not producer.paused or stream.over
        await finished.wait()
        assert taker.bytes == body
        assert taker.ends == [TRAILERS]
        assert stream.received == len(body)

    run()


@virtual_time
async def test_a_body_that_does_not_fit_waits_paused_for_its_next_taker():
    producer = Producer()
    stream = BodyStream(producer)
    for piece in (b"ab", b"cd", b"ef"):
        stream.feed(piece)
    assert await stream.whole(3) is None
    assert producer.paused
    taker = Taker()
    stream.attach(taker)
    assert not producer.paused
    stream.feed(b"gh")
    assert taker.bytes == b"abcdefgh"


@virtual_time
async def test_a_body_that_fits_to_the_byte_is_whole():
    stream = BodyStream(Producer())
    stream.feed(b"abc")
    stream.end(TRAILERS)
    assert await stream.whole(3) == b"abc"


@pytest.mark.parametrize("before", [True, False])
def test_whole_raises_the_error_of_a_body_that_fails(before):
    @virtual_time
    async def run():
        stream = BodyStream(Producer())
        stream.feed(b"half")
        if before:
            stream.fail(CUT)
        else:
            asyncio.get_running_loop().call_soon(stream.fail, CUT)
        with pytest.raises(UpstreamTruncated) as raised:
            await stream.whole(100)
        assert raised.value is CUT

    run()


@virtual_time
async def test_whole_cancelled_abandons_the_body():
    producer = Producer()
    stream = BodyStream(producer)
    heard = []
    stream.when_over(heard.append)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(stream.whole(100))
        await asyncio.sleep(0)
        reading.cancel()
        stream.feed(b"in the same tick")
    assert reading.cancelled()
    assert producer.asked == ["abandon"]
    assert [type(error) for error in heard] == [JobLeft]


@pytest.mark.parametrize("end", ["end", "fail"])
def test_whole_cancelled_in_the_tick_of_the_end_stays_cancelled(end):
    @virtual_time
    async def run():
        producer = Producer()
        stream = BodyStream(producer)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(stream.whole(100))
            await asyncio.sleep(0)
            if end == "end":
                stream.end(TRAILERS)
            else:
                stream.fail(CUT)
            reading.cancel()
        assert reading.cancelled()
        assert producer.asked == []

    run()
