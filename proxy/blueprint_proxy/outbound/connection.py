"""One HTTP/1.1 connection to an upstream: one exchange at a time, its limits watched by the sweep.

Over 300 lines because the state of one connection is one concern: what of the request is out, what of the reply is in,
and which of the two ends first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from blueprint_proxy.bodies.stream import BodyStream
from blueprint_proxy.calls import Reply
from blueprint_proxy.errors import AttemptTimedOut, ProxyError, UpstreamBroke, UpstreamTruncated
from blueprint_proxy.http1.bodies import ChunkedReader, LengthReader, Reader, UntilCloseReader, chunk_pieces, last_chunk
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.http1.heads import MAX_HEAD, MalformedMessage, ReplyHead, check_lines_end, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint_proxy.bodies.request import RequestBody
    from blueprint_proxy.calls import Call
    from blueprint_proxy.sweep import Alarm, Sweep

MAX_INTERIM = 100
"""1xx replies to one request. An upstream that says it is still at work says so every few seconds."""

_CONTENT_LENGTH = frozenset({b"content-length"})


class StaleConnection(UpstreamBroke):
    """A kept connection was closed by the upstream before any byte of the reply: most likely it was idle too long."""


class ClientConnection(asyncio.Protocol):
    """`exchange` sends a call and gives a future of its Reply. `on_idle` hears when the next exchange may come."""

    def __init__(
        self, sweep: Sweep, on_idle: Callable[[ClientConnection], None], on_lost: Callable[[ClientConnection], None]
    ) -> None:
        self._sweep = sweep
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._call: Call | None = None
        self._future: asyncio.Future[Reply] | None = None
        self._body: RequestBody | None = None
        self._request_over = True
        self._buffer = b""
        self._interim = 0
        self._stream: BodyStream | None = None
        self._reader: Reader | None = None
        self._persists = True
        self._write_paused = False
        self._read_paused = False
        self._alarm: Alarm | None = None
        self._alarm_at = 0.0
        self._ended = False
        self._last_raw = b""
        self._last_head: ReplyHead | None = None
        self._began = self._active = 0.0
        self.exchanges = 0
        self.opened = self.idle_since = sweep.now()

    @property
    def closed(self) -> bool:
        """Whether it can carry nothing any more."""
        return self._transport is None or self._transport.is_closing()

    def exchange(self, call: Call, head: bytes) -> asyncio.Future[Reply]:
        """Sends `head` and the call's body. The future fails with an UpstreamError, or a ProxyError of the job's."""
        transport = cast("asyncio.Transport", self._transport)
        self._call = call
        self._interim = 0
        future = self._future = self._loop.create_future()
        self.exchanges += 1
        self._persists = True
        self._began = self._active = self._sweep.now()
        body = call.body
        if isinstance(body, bytes):
            self._request_over = True
            transport.write(head + body if body else head)
        else:
            self._request_over = False
            self._body = body
            transport.write(head)
            body.start(self, paused=self._write_paused)
        self._watch()
        return future

    def cancel(self, call: Call) -> None:
        """Nobody waits for the reply to `call`. Had it come whole, the connection may carry another call by now."""
        if self._call is call:
            self.abort()

    def abort(self) -> None:
        """Ends the connection at once, and with it the exchange: nobody waits for the reply any more."""
        self._settle()
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            self._active = self._sweep.now()
            self._read_body(data)
            return
        if self._future is None:
            self.abort()  # bytes that no request asked for must never become the next one's reply
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        try:
            while data:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    self._buffer = data
                    check_lines_end(data)
                    if len(data) > MAX_HEAD:
                        self._fail(UpstreamBroke(f"the reply's head is larger than {MAX_HEAD} bytes", sent=True))
                    return
                head, data = self._parse(data[: end + 4]), data[end + 4 :]
                if head.status >= 200:
                    self._read_head(head, data)
                    return
                self._read_interim(head)
        except MalformedMessage as malformed:
            self._fail(UpstreamBroke(f"the upstream's reply is not HTTP/1.1: {malformed.message}", sent=True))

    def _parse(self, raw: bytes) -> ReplyHead:
        """The head; one that is byte for byte the reply's before is not read again (a poll's, most of the time)."""
        if raw != self._last_raw or self._last_head is None:
            self._last_raw, self._last_head = raw, parse_reply(raw)
        return self._last_head

    def eof_received(self) -> bool:
        """An upstream that sends no more closes: the transport does the same.

        Over TLS it comes only after a close_notify: an end without one may be a cut (RFC 9112 §9.8).
        """
        self._ended = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the exchange, if there is one: only a body framed by the connection's end is whole now."""
        self._transport = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._on_lost(self)
        stream = self._stream
        if stream is not None and isinstance(self._reader, UntilCloseReader) and error is None and self._ended:
            self._settle()
            stream.end(Fields())
            return
        how = f" ({error})" if error is not None else ""
        if stream is not None:
            self._fail(
                UpstreamTruncated(f"the upstream closed the connection in the middle of the body{how}", sent=True)
            )
        elif self._future is not None:
            heard = self._buffer or self._interim
            kind = StaleConnection if self.exchanges > 1 and not heard else UpstreamBroke
            self._fail(kind(f"the upstream closed the connection before it replied{how}", sent=True))

    def pause_writing(self) -> None:
        """The upstream takes the request more slowly than it comes."""
        self._write_paused = True
        if self._body is not None:
            self._body.pause()

    def resume_writing(self) -> None:
        """The upstream has taken what waited."""
        self._write_paused = False
        self._active = self._sweep.now()
        if self._body is not None:
            self._body.resume()

    # the reply

    def _read_interim(self, head: ReplyHead) -> None:
        call = cast("Call", self._call)
        self._active = self._sweep.now()
        self._interim += 1
        if head.status == 101:
            raise MalformedMessage("it switches protocols, which nobody asked for")
        if self._interim > MAX_INTERIM:
            raise MalformedMessage(f"more than {MAX_INTERIM} interim replies")
        if call.interim is not None:
            call.interim(head.status, head.fields)

    def _read_head(self, head: ReplyHead, rest: bytes) -> None:
        call = cast("Call", self._call)
        status = head.status
        self._active = self._sweep.now()
        reply = Reply(status, head.fields, b"", reason=head.reason, framed=head.length is not None, minor=head.minor)
        self._persists = head.keep_alive
        if call.method == "HEAD" or status in {204, 304}:
            if (
                status == 204 and reply.framed
            ):  # it must not have one (RFC 9110 §8.6), and some would wait for the bytes
                reply.headers = head.fields.without(_CONTENT_LENGTH)
            self._give(reply, rest)
        elif head.length is not None:
            if len(rest) >= head.length:
                reply.body = rest[: head.length] if len(rest) > head.length else rest
                self._give(reply, rest[head.length :])
            else:
                reader = LengthReader(head.length)
                self._stream_to(reply, reader, reader.feed(rest) if rest else [])
        elif head.chunked:
            chunked = ChunkedReader(head.named)
            pieces = chunked.feed(rest) if rest else []
            if chunked.done and not chunked.trailers.raw:
                reply.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                self._give(reply, chunked.rest)
            else:
                self._stream_to(reply, chunked, pieces)
        else:
            self._persists = False
            self._stream_to(reply, UntilCloseReader(), [rest] if rest else [])

    def _give(self, reply: Reply, rest: bytes) -> None:
        """The whole reply is here."""
        future = cast("asyncio.Future[Reply]", self._future)
        self._finish(rest)
        if not future.done():
            future.set_result(reply)

    def _stream_to(self, reply: Reply, reader: Reader, pieces: list[bytes]) -> None:
        reply.body = self._stream = BodyStream(self)
        self._reader = reader
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(reply)
        self._feed(pieces)
        self._watch()

    def _read_body(self, data: bytes) -> None:
        reader = cast("Reader", self._reader)
        try:
            pieces = reader.feed(data)
        except MalformedMessage as malformed:
            self._fail(UpstreamTruncated(f"the reply's body is malformed: {malformed.message}", sent=True))
        else:
            self._feed(pieces)

    def _feed(self, pieces: list[bytes]) -> None:
        stream, reader = cast("BodyStream", self._stream), cast("Reader", self._reader)
        for piece in pieces:
            stream.feed(piece)
        if reader.done and not stream.over:
            self._finish(reader.rest)
            stream.end(reader.trailers)

    def _finish(self, rest: bytes) -> None:
        """The exchange is over and was read to its end: the connection serves again, or closes."""
        read_out = self._request_over and not rest
        self._settle()
        transport = self._transport
        if transport is None:
            return
        self.resume_body()
        if not read_out:
            transport.abort()  # a close would wait for what the upstream may never take of the request
        elif self._persists and not transport.is_closing():
            self.idle_since = self._sweep.now()
            self._on_idle(self)
        else:
            transport.close()

    def _fail(self, error: ProxyError) -> None:
        """The exchange is over without its end."""
        stream, future = self._stream, self._future
        self._settle()
        if self._transport is not None:
            self._transport.abort()
        if stream is not None:
            stream.fail(error)
        elif future is not None and not future.done():
            future.set_exception(error)

    def _settle(self) -> None:
        body, self._body = self._body, None
        self._call = self._future = self._stream = self._reader = None
        if body is not None:
            body.stop()

    # bodies.stream.Flow: what the taker of the reply's body asks

    def pause_body(self) -> None:
        """The taker of the reply cannot keep up."""
        if not self._read_paused and not self.closed:
            self._read_paused = True
            cast("asyncio.Transport", self._transport).pause_reading()

    def resume_body(self) -> None:
        """The taker of the reply can go on. The time it took was not the upstream's."""
        if self._read_paused:
            self._read_paused = False
            self._active = self._sweep.now()
            if not self.closed:
                cast("asyncio.Transport", self._transport).resume_reading()

    def abandon_body(self) -> None:
        """The taker of the reply has left."""
        self.abort()

    # bodies.stream.Sink: the request's body, on its way up

    def body_data(self, data: bytes) -> None:
        """The next piece of the request's body. An empty one would be the last chunk."""
        transport = self._transport
        if transport is None or self._body is None or not data:
            return
        self._active = self._sweep.now()
        if self._body.length is not None:
            transport.write(data)
        else:
            transport.writelines(chunk_pieces(data))

    def body_end(self, trailers: Fields) -> None:
        """The request is whole; from now on the upstream's silence is its own."""
        if self._transport is not None and self._body is not None:
            if self._body.length is None:
                self._transport.write(last_chunk(trailers))
            self._request_over = True
            self._active = self._sweep.now()
            self._watch()

    def body_failed(self, error: ProxyError) -> None:
        """The request will not be whole."""
        self._fail(error)

    # the limits

    def _watch(self) -> None:
        """Sees to it that the alarm rings no later than the next limit that could run out.

        It is left standing from one exchange to the next: when it rings too early, it looks and is set again.
        """
        call = self._call
        if call is None:
            return
        timeouts = call.settings.timeouts
        limit = timeouts.first_byte if self._stream is None and self._request_over else timeouts.idle
        when = None if limit is None else self._active + limit
        if timeouts.attempt is not None and (when is None or self._began + timeouts.attempt < when):
            when = self._began + timeouts.attempt
        if when is None:
            return
        if self._alarm is not None:
            if self._alarm_at <= when:
                return
            self._alarm.cancel()
        self._alarm = self._sweep.at(when, self._look)
        self._alarm_at = when

    def _look(self) -> None:
        """Ends the exchange if one of its limits has run out."""
        self._alarm = None
        call = self._call
        if call is None:
            return
        now = self._sweep.now()
        timeouts = call.settings.timeouts
        replying = self._stream is not None
        # A job that is slow to send or to take is not the upstream's silence.
        if self._read_paused if replying else not (self._request_over or self._write_paused):
            self._active = now
        if timeouts.attempt is not None and now >= self._began + timeouts.attempt:
            self._fail(AttemptTimedOut("attempt", timeouts.attempt, sent=True))
            return
        phase, limit = ("first_byte", timeouts.first_byte)
        if replying or not self._request_over:
            phase, limit = ("idle", timeouts.idle)
        if limit is not None and now >= self._active + limit:
            self._fail(AttemptTimedOut(phase, limit, sent=True))
            return
        self._watch()
