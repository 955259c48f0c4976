"""One connection to an upstream, on a transport that a test plays."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprint_proxy.bodies.request import RequestBody
from blueprint_proxy.bodies.stream import HELD, BodyStream
from blueprint_proxy.errors import (
    AttemptTimedOut,
    JobLeft,
    Reason,
    Refusal,
    UpstreamBroke,
    UpstreamTruncated,
)
from blueprint_proxy.http1.bodies import WHOLE
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.http1.heads import MAX_HEAD
from blueprint_proxy.outbound.connection import MAX_INTERIM, ClientConnection, StaleConnection
from blueprint_proxy.sweep import GRAIN, Sweep
from support.virtual_time import virtual_time

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nx-two: 2\r\n\r\nbody"


class Transport:
    """Keeps what is written; `full` makes the next write pause the protocol."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.written = b""
        self.full = False
        self.reading = True
        self.how = None

    def write(self, data):
        assert self.how is None
        self.written += data
        if self.full and not self.protocol._write_paused:
            self.protocol.pause_writing()

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def drain(self):
        self.full = False
        self.protocol.resume_writing()

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.how is not None

    def close(self):
        self._end("closed")

    def abort(self):
        self._end("aborted")

    def _end(self, how):
        if self.how is None:
            self.how = how
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Peer:
    """A connection with both of its ends in the test's hands."""

    def __init__(self):
        self.sweep = Sweep(asyncio.get_running_loop())
        self.idle = 0
        self.lost = 0
        self.connection = ClientConnection(self.sweep, self._on_idle, self._on_lost)
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)

    def _on_idle(self, connection):
        assert connection is self.connection
        self.idle += 1

    def _on_lost(self, connection):
        assert connection is self.connection
        self.lost += 1

    def send(self, call, head=HEAD):
        return self.connection.exchange(call, head)

    def say(self, data):
        self.connection.data_received(data)

    def hang_up(self, error=None):
        self.transport.how = "lost"
        self.connection.connection_lost(error)

    async def one_exchange(self, call):
        future = self.send(call)
        self.say(OK)
        await future

    @property
    def reusable(self):
        return self.idle > 0 and self.transport.how is None


def chunked(*pieces, trailers=b""):
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# a reply


@virtual_time
async def test_a_reply_that_came_with_its_head_is_whole(a_call):
    peer = Peer()
    future = peer.send(a_call())
    assert peer.transport.written == HEAD
    peer.say(OK)
    reply = await future
    assert (reply.status, reply.reason, reply.body, reply.framed) == (200, b"OK", b"body", True)
    assert reply.headers.get(b"x-two") == b"2"
    assert reply.source == "upstream"
    assert peer.reusable


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 160), max_size=8),
    wire=st.sampled_from(
        [
            OK,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: </x>\r\n\r\n" + OK,
            CHUNKED + chunked(b"bo", b"dy"),
            CHUNKED + chunked(b"b", b"ody", trailers=b"x-sum: 1\r\n"),
        ]
    ),
)
def test_a_reply_is_the_same_however_it_is_cut_into_reads(a_call, take, cuts, wire):
    @virtual_time
    async def run():
        peer = Peer()
        future = peer.send(a_call())
        taker, at = None, 0
        for cut in [*sorted(cut for cut in cuts if cut < len(wire)), len(wire)]:
            if cut > at:
                peer.say(wire[at:cut])
                at = cut
            if taker is None and future.done() and isinstance(future.result().body, BodyStream):
                taker = take(future.result().body)
        reply = await future
        assert reply.status == 200
        assert (taker.bytes if taker is not None else reply.body) == b"body"
        if taker is not None:
            assert len(taker.ends) == 1
            assert isinstance(taker.ends[0], Fields)
        assert peer.reusable

    run()


@virtual_time
async def test_an_interim_reply_goes_to_the_job_and_the_final_one_answers(a_call):
    peer, interim = Peer(), []
    future = peer.send(a_call(interim=lambda status, fields: interim.append((status, fields.raw))))
    peer.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 2")
    assert interim == [(100, b""), (103, b"link: </x>\r\n")]
    assert not future.done()
    peer.say(b"04 No Content\r\n\r\n")
    assert (await future).status == 204
    assert peer.reusable


@virtual_time
async def test_an_upstream_that_only_ever_sends_interim_replies_is_broken_off(a_call):
    peer, interim = Peer(), []
    future = peer.send(a_call(interim=lambda *what: interim.append(what)))
    peer.say(b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000)
    with pytest.raises(UpstreamBroke, match="interim"):
        await future
    assert len(interim) == MAX_INTERIM
    assert peer.transport.how == "aborted"


@virtual_time
async def test_a_switch_of_protocols_is_refused(a_call):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    with pytest.raises(UpstreamBroke, match="switches protocols") as raised:
        await future
    assert raised.value.sent
    assert peer.transport.how == "aborted"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 400\r\n\r\n"),
    ],
)
def test_a_reply_that_has_no_body_is_over_with_its_head(a_call, method, head):
    @virtual_time
    async def run():
        peer = Peer()
        future = peer.send(a_call(method))
        peer.say(head)
        reply = await future
        assert reply.body == b""
        assert reply.framed is (b"Content-Length" in head)
        assert peer.reusable

    run()


@virtual_time
async def test_a_long_body_streams_and_frees_the_connection_at_its_end(a_call, take):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
    reply = await future
    assert reply.framed
    taker = take(reply.body)
    assert taker.bytes == b"ab"
    peer.say(b"cd")
    assert taker.bytes == b"abcd"
    assert not peer.idle
    peer.say(b"ef")
    assert taker.bytes == b"abcdef"
    assert taker.ends == [Fields()]
    assert peer.reusable


@virtual_time
async def test_a_chunked_body_with_trailers_streams_them(a_call, take):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(CHUNKED + chunked(b"ab", b"cd", trailers=b"x-sum: 9\r\n"))
    reply = await future
    taker = take(reply.body)
    assert not reply.framed
    assert taker.bytes == b"abcd"
    assert taker.ends == [Fields(b"x-sum: 9\r\n")]
    assert peer.reusable


@virtual_time
async def test_a_whole_chunked_body_without_trailers_is_given_in_one_piece(a_call):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(CHUNKED + chunked(b"ab", b"cd"))
    assert (await future).body == b"abcd"
    assert peer.reusable


@virtual_time
async def test_a_body_without_framing_ends_with_the_connection(a_call, take):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\n\r\nab")
    taker = take((await future).body)
    peer.say(b"cd")
    assert taker.ends == []
    peer.connection.eof_received()
    peer.hang_up()
    assert taker.bytes == b"abcd"
    assert taker.ends == [Fields()]
    assert not peer.idle


@virtual_time
async def test_a_body_without_framing_that_ends_without_a_close_is_cut(a_call, take):
    """Over TLS an end without close_notify brings no eof_received: it may be anybody's."""
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\n\r\nab")
    taker = take((await future).body)
    peer.hang_up()
    [error] = taker.ends
    assert isinstance(error, UpstreamTruncated)


# a reply that breaks


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", None),
        (CHUNKED + b"9\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", ConnectionResetError("reset")),
    ],
)
def test_a_body_cut_short_never_ends_well(a_call, take, head, error):
    @virtual_time
    async def run():
        peer = Peer()
        future = peer.send(a_call())
        peer.say(head + b"half")
        taker = take((await future).body)
        peer.hang_up(error)
        [cut] = taker.ends
        assert taker.bytes == b"half"
        assert isinstance(cut, UpstreamTruncated)
        assert cut.sent
        assert peer.lost == 1
        assert not peer.idle

    run()


@virtual_time
async def test_a_chunk_that_is_no_chunk_breaks_the_body(a_call, take):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(CHUNKED + b"2\r\nab\r\n")
    taker = take((await future).body)
    peer.say(b"oops\r\n")
    assert isinstance(taker.ends[0], UpstreamTruncated)
    assert peer.transport.how == "aborted"


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: line\r\n\r\n",
        CHUNKED + b"oops\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MAX_HEAD // 6),
    ],
)
def test_what_is_not_http_fails_the_call_and_the_connection(a_call, garbage):
    @virtual_time
    async def run():
        peer = Peer()
        future = peer.send(a_call())
        peer.say(garbage)
        with pytest.raises(UpstreamBroke) as raised:
            await future
        assert raised.value.sent
        assert peer.transport.how == "aborted"
        assert not peer.idle

    run()


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
def test_bytes_after_a_reply_end_the_connection_with_the_reply(a_call, framing):
    @virtual_time
    async def run():
        peer = Peer()
        first = {
            "length": OK,
            "chunked": CHUNKED + chunked(b"body"),
            "none": b"HTTP/1.1 204 No Content\r\n\r\n",
        }[framing]
        future = peer.send(a_call())
        peer.say(first + OK)
        assert (await future).status in {200, 204}
        assert peer.transport.how is not None
        assert not peer.idle

    run()


@virtual_time
async def test_bytes_after_a_streamed_reply_end_the_connection_with_it(a_call, take):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
    taker = take((await future).body)
    peer.say(b"cdef" + OK)
    assert taker.bytes == b"abcdef"
    assert taker.ends == [Fields()]
    assert not peer.idle
    assert peer.transport.how is not None


@virtual_time
async def test_bytes_that_no_request_asked_for_end_an_idle_connection(a_call):
    peer = Peer()
    await peer.one_exchange(a_call())
    peer.say(OK)
    assert peer.transport.how == "aborted"
    assert peer.connection.closed


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
def test_an_upstream_that_says_close_is_closed(a_call, head):
    @virtual_time
    async def run():
        peer = Peer()
        future = peer.send(a_call())
        peer.say(head + b"Content-Length: 4\r\n\r\nbody")
        assert (await future).body == b"body"
        assert not peer.idle
        assert peer.transport.how == "closed"

    run()


@pytest.mark.parametrize(
    ("before", "said", "kind"),
    [
        (0, b"", UpstreamBroke),
        (1, b"", StaleConnection),
        (1, b"HTTP/1.1 2", UpstreamBroke),
        (1, b"HTTP/1.1 100 Continue\r\n\r\n", UpstreamBroke),
    ],
)
def test_only_a_reused_connection_that_said_nothing_was_stale(a_call, before, said, kind):
    @virtual_time
    async def run():
        peer = Peer()
        for _ in range(before):
            await peer.one_exchange(a_call())
        future = peer.send(a_call())
        if said:
            peer.say(said)
        peer.hang_up()
        with pytest.raises(UpstreamBroke) as raised:
            await future
        assert type(raised.value) is kind
        assert raised.value.sent
        assert peer.lost == 1

    run()


@virtual_time
async def test_an_interim_reply_of_an_earlier_exchange_does_not_count_for_a_later_one(a_call):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    await future
    future = peer.send(a_call())
    peer.hang_up()
    with pytest.raises(StaleConnection):
        await future


# the request's body


def body_for(job, length=None, **limits):
    return RequestBody(job, length, **limits)


@virtual_time
async def test_a_body_of_known_length_goes_up_as_it_comes(a_call, job):
    peer, body = Peer(), body_for(job, 4)
    body.feed(b"ab")
    future = peer.send(a_call("POST", body=body))
    assert peer.transport.written == HEAD + b"ab"
    body.feed(b"cd")
    body.end(Fields())
    assert peer.transport.written == HEAD + b"abcd"
    peer.say(OK)
    await future
    assert peer.reusable


@virtual_time
async def test_a_body_of_unknown_length_goes_up_in_chunks_with_its_trailers(a_call, job):
    peer, body = Peer(), body_for(job)
    large = bytes(WHOLE + 1)
    peer.send(a_call("POST", body=body))
    body.feed(b"ab")
    body.feed(b"")
    body.feed(large)
    body.end(Fields(b"x-sum: 1\r\n"))
    assert peer.transport.written == HEAD + b"2\r\nab\r\n%x\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(large), large)


@virtual_time
async def test_a_whole_body_goes_up_with_its_head(a_call):
    peer = Peer()
    peer.send(a_call("POST", body=b"whole"))
    assert peer.transport.written == HEAD + b"whole"


@virtual_time
async def test_an_upstream_that_reads_slowly_pauses_the_job(a_call, job):
    peer, body = Peer(), body_for(job)
    peer.send(a_call("POST", body=body))
    peer.transport.full = True
    body.feed(b"ab")
    assert job.paused
    peer.transport.drain()
    assert not job.paused


@virtual_time
async def test_a_connection_that_is_still_full_takes_no_body_yet(a_call, job):
    peer, body = Peer(), body_for(job, memory=100)
    body.feed(b"ab")
    peer.transport.full = True
    peer.send(a_call("POST", body=body))
    assert peer.transport.written == HEAD
    peer.transport.drain()
    assert peer.transport.written == HEAD + b"2\r\nab\r\n"


@virtual_time
async def test_a_final_reply_before_the_requests_end_stops_the_body_and_ends_the_connection(a_call, job):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body))
    body.feed(b"ab")
    peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    assert (await future).status == 413
    written = peer.transport.written
    body.feed(b"cd")
    body.end(Fields())
    assert peer.transport.written == written
    assert peer.transport.how == "aborted"
    assert not peer.idle


@virtual_time
async def test_a_body_that_waited_for_the_upstream_is_let_go_with_the_reply(a_call, job):
    peer, body = Peer(), body_for(job)
    peer.send(a_call("POST", body=body))
    peer.transport.full = True
    body.feed(b"ab")
    assert job.paused
    peer.say(OK)
    assert not job.paused


@virtual_time
async def test_a_streamed_reply_before_the_requests_end_lets_the_request_go_on(a_call, job, take):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body))
    peer.say(CHUNKED + b"2\r\nab\r\n")
    taker = take((await future).body)
    body.feed(b"cd")
    body.end(Fields())
    assert peer.transport.written == HEAD + chunked(b"cd")
    peer.say(b"0\r\n\r\n")
    assert taker.ends == [Fields()]
    assert peer.reusable


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_body_that_fails_fails_the_call_with_its_own_error(a_call, job, when):
    @virtual_time
    async def run():
        peer, body = Peer(), body_for(job, limit=3)
        if when == "before":
            body.feed(b"1234")
        future = peer.send(a_call("POST", body=body))
        if when == "during":
            body.feed(b"1234")
        with pytest.raises(Refusal) as raised:
            await future
        assert raised.value.reason is Reason.TOO_LARGE
        assert peer.transport.how == "aborted"

    run()


@virtual_time
async def test_a_job_that_leaves_in_its_body_breaks_the_streamed_reply_too(a_call, job, take):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body))
    peer.say(CHUNKED + b"2\r\nab\r\n")
    taker = take((await future).body)
    left = JobLeft("gone")
    body.fail(left)
    assert taker.ends == [left]
    assert peer.transport.how == "aborted"


# the reply's pace


@virtual_time
async def test_a_reader_that_cannot_keep_up_pauses_the_upstream(a_call, take):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(HELD + 1))
    reply = await future
    assert not peer.transport.reading
    take(reply.body)
    assert peer.transport.reading
    reply.body.pause()
    assert not peer.transport.reading
    reply.body.resume()
    assert peer.transport.reading


@virtual_time
async def test_a_connection_paused_at_the_end_of_a_reply_reads_again_when_idle(a_call):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n" + bytes(100_000))
    await future
    assert not peer.transport.reading
    peer.say(b"!")
    assert peer.transport.reading
    assert peer.reusable


@virtual_time
async def test_a_reader_that_leaves_ends_the_connection(a_call):
    peer = Peer()
    future = peer.send(a_call())
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    (await future).body.abandon()
    assert peer.transport.how == "aborted"
    await asyncio.sleep(0)
    assert peer.lost == 1


# nobody waits any more


@virtual_time
async def test_a_cancelled_exchange_ends_its_connection(a_call, job):
    peer, call = Peer(), a_call("POST", body=body_for(job))
    future = peer.send(call)
    future.cancel()
    peer.connection.cancel(call)
    assert peer.transport.how == "aborted"
    call.body.feed(b"late")
    assert peer.transport.written == HEAD


@virtual_time
async def test_a_cancellation_that_comes_after_the_reply_does_not_touch_the_next_exchange(a_call):
    peer, first, second = Peer(), a_call(), a_call()
    future = peer.send(first)
    future.cancel()
    peer.say(OK)
    next_one = peer.send(second)
    peer.connection.cancel(first)
    peer.say(OK)
    assert (await next_one).body == b"body"


@virtual_time
async def test_a_cancellation_in_the_tick_of_a_streams_head_ends_the_connection(a_call):
    peer, call = Peer(), a_call()
    peer.send(call)
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    peer.connection.cancel(call)
    assert peer.transport.how == "aborted"


# the limits


async def timed_out(peer, future):
    """The phase that ran out, and after how many seconds."""
    start = peer.sweep.now()
    with pytest.raises(AttemptTimedOut) as raised:
        await future
    assert raised.value.sent
    assert peer.transport.how == "aborted"
    return raised.value.phase, round(peer.sweep.now() - start, 1)


@virtual_time
async def test_a_silent_upstream_runs_into_first_byte(a_call):
    peer = Peer()
    assert await timed_out(peer, peer.send(a_call(first_byte=2.0, idle=1.0, attempt=9.0))) == ("first_byte", 2.0)


@virtual_time
async def test_the_attempt_limit_bounds_all_phases(a_call):
    peer = Peer()
    assert await timed_out(peer, peer.send(a_call(first_byte=9.0, idle=9.0, attempt=2.0))) == ("attempt", 2.0)


@virtual_time
async def test_without_limits_nothing_runs_out(a_call):
    peer = Peer()
    future = peer.send(a_call())
    await asyncio.sleep(7200)
    peer.say(OK)
    assert (await future).status == 200


@virtual_time
async def test_half_a_head_does_not_count_as_the_first_byte(a_call):
    peer = Peer()
    future = peer.send(a_call(first_byte=2.0))
    await asyncio.sleep(1)
    peer.say(b"HTTP/1.1 200 OK\r\n")
    assert await timed_out(peer, future) == ("first_byte", 1.0)


@virtual_time
async def test_an_interim_reply_begins_the_wait_anew(a_call):
    peer = Peer()
    future = peer.send(a_call(first_byte=2.0))
    await asyncio.sleep(1.5)
    peer.say(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert await timed_out(peer, future) == ("first_byte", 2.0)


async def ended(reply_body, taker):
    done = asyncio.Event()
    reply_body.when_over(lambda _: done.set())
    await done.wait()
    return taker.ends[0]


@virtual_time
async def test_a_body_that_stalls_runs_into_idle(a_call, take):
    peer = Peer()
    future = peer.send(a_call(first_byte=99.0, idle=2.0))
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    body = (await future).body
    taker = take(body)
    for _ in range(3):
        await asyncio.sleep(1.9)
        peer.say(b"c")
    start = peer.sweep.now()
    error = await ended(body, taker)
    assert isinstance(error, AttemptTimedOut)
    assert error.phase == "idle"
    assert 2.0 - 1e-6 <= peer.sweep.now() - start <= 2.0 + 2 * GRAIN


@virtual_time
async def test_a_job_that_reads_slowly_is_not_the_upstreams_silence(a_call, take):
    peer = Peer()
    future = peer.send(a_call(first_byte=1.0, idle=1.0))
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    body = (await future).body
    taker = take(body)
    body.pause()
    await asyncio.sleep(60.5)
    body.resume()
    assert taker.ends == []
    start = peer.sweep.now()
    assert (await ended(body, taker)).phase == "idle"
    assert 1.0 - 1e-6 <= peer.sweep.now() - start <= 1.0 + 2 * GRAIN


@virtual_time
async def test_a_job_that_sends_slowly_is_not_the_upstreams_silence(a_call, job):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body, first_byte=1.0, idle=1.0))
    for _ in range(3):
        await asyncio.sleep(20)
        body.feed(b"ab")
    await asyncio.sleep(20.5)
    body.end(Fields())
    assert not future.done()
    assert await timed_out(peer, future) == ("first_byte", 1.0)


@virtual_time
async def test_an_upstream_that_stops_reading_the_request_runs_into_idle(a_call, job):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body, first_byte=9.0, idle=1.0))
    await asyncio.sleep(20)
    peer.transport.full = True
    body.feed(b"ab")
    assert await timed_out(peer, future) == ("idle", 1.0)


@virtual_time
async def test_an_upstream_that_reads_slowly_but_reads_does_not(a_call, job):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body, first_byte=9.0, idle=1.0))
    for _ in range(10):
        peer.transport.full = True
        body.feed(b"ab")
        await asyncio.sleep(0.9)
        peer.transport.drain()
    body.end(Fields())
    peer.say(OK)
    assert (await future).status == 200


@virtual_time
async def test_a_slow_job_does_not_stretch_the_attempt_limit(a_call, job):
    peer, body = Peer(), body_for(job)
    future = peer.send(a_call("POST", body=body, idle=1.0, attempt=5.0))
    assert await timed_out(peer, future) == ("attempt", 5.0)


@virtual_time
async def test_an_alarm_left_from_one_exchange_never_ends_a_later_one_early(a_call):
    peer = Peer()
    await peer.one_exchange(a_call(first_byte=2.0, attempt=3.0))
    await asyncio.sleep(1.9)
    future = peer.send(a_call(first_byte=5.0))
    assert await timed_out(peer, future) == ("first_byte", 5.0)


@virtual_time
async def test_each_exchange_has_its_own_attempt_limit(a_call):
    peer = Peer()
    await peer.one_exchange(a_call(attempt=5.0))
    await asyncio.sleep(4)
    assert await timed_out(peer, peer.send(a_call(attempt=5.0))) == ("attempt", 5.0)


@virtual_time
async def test_a_shorter_limit_after_a_longer_one_is_kept(a_call):
    peer = Peer()
    await peer.one_exchange(a_call(first_byte=60.0))
    assert await timed_out(peer, peer.send(a_call(first_byte=1.0))) == ("first_byte", 1.0)


@virtual_time
async def test_an_alarm_left_standing_never_ends_an_idle_connection(a_call):
    peer = Peer()
    await peer.one_exchange(a_call(first_byte=2.0, idle=1.0, attempt=3.0))
    await asyncio.sleep(30)
    assert peer.reusable
    await peer.one_exchange(a_call())
    assert peer.reusable


@virtual_time
async def test_many_short_exchanges_share_one_alarm(a_call):
    peer = Peer()
    for _ in range(50):
        await peer.one_exchange(a_call(first_byte=60.0))
    assert sum(map(len, peer.sweep._buckets.values())) == 1


@virtual_time
async def test_a_lost_connection_leaves_no_alarm(a_call):
    peer = Peer()
    await peer.one_exchange(a_call(first_byte=60.0))
    peer.hang_up()
    assert sum(map(len, peer.sweep._buckets.values())) == 0
