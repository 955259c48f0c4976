"""One HTTP/1.1 connection of a job: requests in, in order; a Call each; replies out, in the same order.

Over 300 lines because the state of a connection is one concern: what is being read, what is being answered, and which
of the two ends first.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from typing import TYPE_CHECKING, cast

from blueprint_proxy.bodies.stream import BodyStream
from blueprint_proxy.errors import JobLeft, ProxyError, Reason, Refusal
from blueprint_proxy.http1.bodies import ChunkedReader, LengthReader, chunk_pieces, last_chunk
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.http1.heads import (
    MalformedMessage,
    RequestHead,
    check_partial,
    parse_request,
    parse_request_line,
)
from blueprint_proxy.inbound.answers import PHRASES, answer
from blueprint_proxy.inbound.peers import is_gone
from blueprint_proxy.inbound.routing import route
from blueprint_proxy.telemetry.events import BadRequest, CallRefused

if TYPE_CHECKING:
    from blueprint_proxy.bodies.request import RequestBody
    from blueprint_proxy.calls import Call, Reply
    from blueprint_proxy.inbound.listener import Destination, Listener
    from blueprint_proxy.runs.run import Run
    from blueprint_proxy.sweep import Alarm

HEAD_TIME = 30.0
"""Seconds in which a head must be whole once it has begun."""
IDLE_TIME = 620.0
"""Seconds that a connection may be kept without a request: longer than the SDKs' pools keep theirs."""
STALL_TIME = 300.0
"""Seconds that a job may be silent in the middle of a request's body."""
CONTINUE_TIME = 1.0
"""Seconds after which a job that waits for 100 Continue is told to go on, when the upstream has not said anything."""
LINGER_TIME = 2.0
"""Seconds in which a connection that closes early is still read: a reset would destroy the answer on its way."""
BODY_CHECK = 5.0
"""Seconds between two looks at a job that is sending a body."""
PEER_CHECK = 1.0
"""Seconds between two looks whether a half-closed connection's job still lives."""
MAX_PIPELINED = 64 * 1024
"""Bytes of later requests that wait behind the present one before the job is paused."""

_REQUEST_ID_FIELD = frozenset({b"x-request-id"})


class ServerConnection(asyncio.Protocol):
    """Reads one request at a time; what comes after it waits until its reply is written."""

    def __init__(self, listener: Listener) -> None:
        self.peers_run: tuple[int, Run | None] = -1, None  # whose process this is, and of which generation of runs
        self._listener = listener
        self._sweep = listener.sweep
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._at = 0  # where the next request begins in it: many may have come at once
        self._busy = False
        self._partial = False  # whether a head has begun and not ended
        self._until_close = False  # whether the reply under way ends with the connection
        self._closing = False
        self._unflushed = 0
        self._half_closed = False
        self._head: RequestHead | None = None
        self._last_head: RequestHead | None = None
        self._last_lines = b""
        self._reader: LengthReader | ChunkedReader | None = None
        self._body: RequestBody | None = None
        self._task: asyncio.Task[None] | None = None
        self._next: tuple[Destination, Call] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._stream: BodyStream | None = None
        self._chunked = False
        self._unsent = b""
        self._reading_paused = False
        self._write_paused = False
        self._replying = False
        self._alarm: Alarm | None = None
        self._since = 0.0

    @property
    def transport_socket(self) -> socket.socket | None:
        """The transport's own, for what the kernel knows of the other end; None once it is closed."""
        return None if self._transport is None else self._transport.get_extra_info("socket")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        listener = self._listener
        listener.connections.add(self)
        listener.quiet.clear()
        self._since = self._sweep.now()
        self._alarm = self._sweep.at(self._since + HEAD_TIME, self._look)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # lingering: the answer is on its way, and nothing more is read
        if self._reader is not None:
            self._read_body(data)
            return
        if self._buffer:
            self._buffer, self._at = self._buffer[self._at :] + data, 0
        else:
            self._buffer = data
        if not self._busy and not self._write_paused:
            self._next_request()
        if len(self._buffer) - self._at > MAX_PIPELINED:
            self.pause_body()

    def eof_received(self) -> bool:
        if self._reader is not None:
            self._job_left()
            return False
        transport = self._transport
        over_tls = transport is not None and transport.get_extra_info("ssl_object") is not None
        if self._closing or over_tls or (not self._busy and not self._buffer):
            return False  # TLS has no half-close: the job is gone
        # A half-close is a job that has said all it wanted to say and waits for the answer.
        self._half_closed = True
        self._arm(PEER_CHECK)
        if not self._busy:
            self._loop.call_soon(self._next_if_free)
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._job_left()
        listener = self._listener
        listener.connections.discard(self)
        if not listener.connections:
            listener.quiet.set()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._stream is not None:
            self._stream.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._stream is not None:
            self._stream.resume()
        elif self._buffer:
            self._next_if_free()

    def close_when_idle(self) -> None:
        if not self._busy and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once, never so that a reply under way could be taken for whole."""
        if self._transport is not None:
            if self._until_close:
                _reset(self._transport)
            else:
                self._transport.abort()

    # the request

    def _next_request(self) -> bool:
        """Begins the request that stands at `_at` of the buffer; False when its head is not whole yet."""
        data, at = self._buffer, self._at
        while data.startswith(b"\r\n", at):  # an empty line before a request, left by an old client (RFC 9112 §2.2)
            at += 2
        end = data.find(b"\r\n\r\n", at)
        try:
            if end < 0:
                self._buffer, self._at = data[at:], 0
                check_partial(self._buffer)
                if self._buffer and not self._partial:
                    self._partial = True
                    self._since = self._sweep.now()
                    self._arm(HEAD_TIME)
                return False
            head = self._parse(data, at, end + 4)
        except MalformedMessage as malformed:
            self._reject(malformed)
            return True
        self._begin(head, end + 4)
        return True

    def _parse(self, data: bytes, at: int, end: int) -> RequestHead:
        """The head from `at` to `end`. Fields that are byte for byte those of the request before are not read again.

        Most jobs send the same ones for ever, and reading them is a good part of what a small call costs.
        """
        start = data.find(b"\r\n", at) + 2
        lines = data[start:end]
        last = self._last_head
        if last is not None and lines == self._last_lines:
            method, target, minor, _ = parse_request_line(data[at:start])
            if minor == last.minor:
                last.method, last.target = method, target
                return last
        head = parse_request(data[at:end])
        head.fields = Fields(head.fields.raw + self._listener.via_lines[head.minor])
        alike = head.keep_alive and not head.expect_continue and b"x-request-id" not in head.noted
        self._last_head, self._last_lines = (head, lines) if alike else (None, b"")
        return head

    def _begin(self, head: RequestHead, at: int) -> None:
        """Takes `head` as the present request; its body and whatever follows stand at `at` of the buffer."""
        self._busy = True
        self._partial = False
        self._head = head
        self._replying = False
        whole: bytes | None = b""
        if head.chunked:
            whole, self._reader = None, ChunkedReader(head.named)
        elif head.length:
            if len(self._buffer) - at >= head.length:
                whole = self._buffer[at : at + head.length]
                at += head.length
            else:
                whole, self._reader = None, LengthReader(head.length)
        rest = b""
        if whole is None:
            rest, self._buffer, self._at = self._buffer[at:], b"", 0
        elif at == len(self._buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = at
        if len(self._buffer) - self._at <= MAX_PIPELINED:
            self.resume_body()
        self._call(head, whole, rest)

    def _call(self, head: RequestHead, whole: bytes | None, rest: bytes) -> None:
        """Makes a Call of the request and has it answered. `whole` and `rest`: all of its body, or what came of it."""
        listener = self._listener
        given = head.noted.get(b"x-request-id") if head.noted else None
        request_id = listener.request_id(given)
        if given is not None and given.decode("latin-1") != request_id:
            head.fields = head.fields.without(_REQUEST_ID_FIELD)
        name = ""
        try:
            listener.admit(head)
            to = route(head, listener.upstreams, listener.own)
            name = to.upstream.name
            run = listener.runs.only
            if head.own or to.run is not None or (run is None and listener.runs.held):
                run = listener.run(head, to.run, self)
            call = to.upstream.call(
                head,
                to.target,
                whole,
                self,
                request_id=request_id,
                run=run,
                public_url=b"%b://%b%b" % (listener.scheme, head.host or listener.authority, to.prefix),
                interim=self._interim if head.minor else None,
            )
        except Refusal as refusal:
            refusal.sent = False  # there has been no call yet
            if refusal.reason is Reason.BAD_REQUEST:
                head.keep_alive = False  # what follows a request that was not understood may not be a request
            listener.telemetry.emit(CallRefused(name, "", request_id, refusal.reason.value, refusal.retry_after))
            self._refuse(refusal, name, request_id)
            return
        if whole is None:
            self._begin_body(cast("RequestBody", call.body), rest, waits=head.expect_continue)
        if self._transport is None or self._closing:
            return  # the body's first bytes were refused already
        self._next = (to.upstream, call)
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
            self._task.add_done_callback(self._report)
        elif self._wake is not None:
            self._wake.set_result(None)

    def _begin_body(self, body: RequestBody, rest: bytes, *, waits: bool) -> None:
        """`rest` is what came of it with the head; `waits`: the job sends the others after a 100 Continue."""
        self._body = body
        self._since = self._sweep.now()
        self._arm(CONTINUE_TIME if waits and not rest else BODY_CHECK)
        if rest:
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        reader, body = self._reader, self._body
        if reader is None or body is None:
            return
        try:
            pieces = reader.feed(data)
        except MalformedMessage as malformed:
            self._reader = None
            self._stop_answering()
            body.fail(JobLeft(f"the request's body is malformed: {malformed.message}"))
            self._reject(malformed, sent=None)
            return
        self._since = self._sweep.now()
        if reader.done:
            self._reader = None
            self._buffer, self._at = reader.rest, 0
        for piece in pieces:
            body.feed(piece)
        if reader.done:
            self._body = None
            self.resume_body()
            body.end(reader.trailers)

    async def _serve(self) -> None:
        """Answers this connection's calls, one after the other: a task for each would cost as much as a policy."""
        while self._next is not None:
            upstream, call = self._next
            self._next = None
            await self._respond(upstream, call)
            if self._next is None:
                self._wake = self._loop.create_future()
                await self._wake
                self._wake = None

    async def _respond(self, upstream: Destination, call: Call) -> None:
        answered = False
        try:
            reply = await upstream.send(call)
            self._reply(reply, call)
            answered = True
        except Refusal as refusal:
            self._refuse(refusal, call.upstream, call.request_id)
            answered = True
        except JobLeft:
            self.abort()
        finally:
            if not answered and self._task is not None:
                self.abort()  # a defect of ours

    def _report(self, task: asyncio.Task[None]) -> None:
        """A defect of ours: the job has seen a broken connection, the log gets the whole of what happened."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler({"message": "a call failed inside the proxy", "exception": error})

    # the reply

    def _interim(self, status: int, fields: Fields) -> None:
        """A 1xx of the upstream, or our own 100."""
        if self._transport is not None and not self._replying:
            if status == 100 and self._head is not None:
                if not self._head.expect_continue:
                    return  # the job did not wait for one, or has had it
                self._head.expect_continue = False
            phrase = b"Continue" if status == 100 else b"Early Hints" if status == 103 else b""
            self._transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase, fields.raw))

    def _reply(self, reply: Reply, call: Call) -> None:
        own = (
            f"x-blueprint-upstream: {call.upstream}\r\nx-blueprint-attempts: {reply.attempts}\r\n"
            f"x-blueprint-source: {reply.source}\r\nx-request-id: {call.request_id}\r\n"
        ).encode("ascii")
        if reply.error is not None:
            own += b"x-blueprint-error: %b\r\n" % reply.error.encode("ascii")
            if reply.retry_after is not None and reply.headers.get(b"retry-after") is None:
                own += b"retry-after: %d\r\n" % math.ceil(reply.retry_after)
        self._write(
            reply.status, reply.reason, reply.headers.raw + own, reply.body, framed=reply.framed, minor=reply.minor
        )

    def _refuse(self, refusal: Refusal, upstream: str, request_id: str) -> None:
        status, phrase, fields, body = answer(refusal, upstream=upstream, request_id=request_id)
        self._write(status, phrase, fields.raw, body)

    def _reject(self, malformed: MalformedMessage, *, sent: bool | None = False) -> None:
        """Answers what is not HTTP, and closes: nothing after it can be trusted."""
        self._listener.telemetry.emit(BadRequest("http", malformed.status, malformed.message))
        refusal = Refusal(Reason.BAD_REQUEST, malformed.message, status=malformed.status, sent=sent)
        status, phrase, fields, body = answer(refusal, upstream="", request_id=self._listener.request_id(None))
        if self._replying:
            self.abort()
            return
        self._head = None
        self._buffer, self._at = b"", 0
        self._busy = True
        self._write(status, phrase, fields.raw, body)

    def _write(
        self,
        status: int,
        phrase: bytes,
        lines: bytes,
        body: bytes | BodyStream,
        *,
        framed: bool = False,
        minor: int = 1,
    ) -> None:
        """The head, and the body as it is framed for this job.

        `framed`: the lines hold a right Content-Length. `minor`: the version in which the reply came to us.
        """
        transport, head, listener = self._transport, self._head, self._listener
        if transport is None:
            if isinstance(body, BodyStream):
                body.abandon()
            return
        self._replying = True
        is_http11 = head is None or head.minor == 1
        bodiless = status in {204, 304} or (head is not None and head.method == "HEAD")
        self._chunked = False
        extra = listener.via_lines[minor]
        if not framed and not bodiless:
            if isinstance(body, bytes):
                extra += b"Content-Length: %d\r\n" % len(body)
            elif is_http11:
                self._chunked = True
                extra += b"Transfer-Encoding: chunked\r\n"
            elif head is not None:
                head.keep_alive = False
                self._until_close = True
        if head is None or not head.keep_alive or listener.draining or self._reader is not None:
            extra += b"Connection: close\r\n"
            if head is not None:
                head.keep_alive = False
        elif not is_http11:
            extra += b"Connection: keep-alive\r\n"
        begin = b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (status, phrase or PHRASES.get(status, b""), lines, extra)
        if isinstance(body, bytes):
            transport.write(begin + body if body and not bodiless else begin)
            self._replied()
            return
        self._stream = body
        self._unsent = begin
        body.attach(self)
        self._flush()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(self._unsent)
            self._unsent = b""

    # bodies.stream.Sink: the reply's body

    def body_data(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or not data:
            return
        pieces = chunk_pieces(data) if self._chunked else [data]
        if self._unsent:
            pieces.insert(0, self._unsent)
            self._unsent = b""
        if len(pieces) > 1:
            transport.writelines(pieces)
        else:
            transport.write(pieces[0])

    def body_end(self, trailers: Fields) -> None:
        if self._transport is None:
            return
        self._flush()
        if self._chunked:
            self._transport.write(last_chunk(trailers))
        self._stream = None
        self._replied()

    def body_failed(self, _error: ProxyError) -> None:
        """The reply ends here and must not look whole: the connection goes before its framing says that it may."""
        self._stream = None
        transport = self._transport
        if transport is None:
            return
        self._flush()
        if self._until_close:
            _reset(transport)
        else:
            transport.close()

    def _replied(self) -> None:
        """The reply is written: on to the next request, or the end."""
        transport = self._transport
        if transport is None:
            return
        head = self._head
        if self._reader is not None or head is None:
            self._linger()
        elif not head.keep_alive or self._listener.draining or (self._half_closed and not self._buffer):
            self._closing = True
            self._since = self._sweep.now()
            self._arm(LINGER_TIME)
            transport.close()
        else:
            self._busy = False
            self._head = None
            self._since = self._sweep.now()
            if self._buffer:
                self._loop.call_soon(self._next_if_free)

    def _next_if_free(self) -> None:
        """On to a request that came while the one before it was answered, unless the job does not read its answers."""
        if self._busy or self._closing or self._write_paused or self._transport is None:
            return
        if not self._next_request() and self._half_closed:
            self._transport.close()  # what is left is no request, and no more will come

    def _linger(self) -> None:
        """Closes our half and reads on for a while, unread: a reset would take the answer with it (RFC 9112 §9.6)."""
        transport = self._transport
        if transport is None:
            return
        self._closing = True
        self._reader = None
        body, self._body = self._body, None
        if body is not None:
            body.fail(JobLeft("the reply came before the request's body had ended"))
        self.resume_body()
        if transport.can_write_eof():
            transport.write_eof()
            self._arm(LINGER_TIME)
        else:
            transport.close()

    def _stop_answering(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon()

    def _job_left(self) -> None:
        """Nothing can be written to the job any more: its attempt is cancelled."""
        self._reader = None
        self._stop_answering()
        body, self._body = self._body, None
        if body is not None:
            body.fail(JobLeft("the job closed its connection in the middle of the request's body"))

    # bodies.stream.Flow: what the taker of the request's body asks

    def pause_body(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_body(self) -> None:
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._since = self._sweep.now()
            self._transport.resume_reading()

    def abandon_body(self) -> None:
        """The attempt takes no more of the request's body; the reply decides what becomes of the connection."""

    # the limits of a connection: one alarm, which looks what it was for when it rings

    def _arm(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._sweep.at(self._sweep.now() + seconds, self._look)

    def _look(self) -> None:
        self._alarm = None
        if self._transport is None:
            return
        silent = self._sweep.now() - self._since
        if self._closing:
            self._look_while_closing(self._transport, silent)
        elif self._half_closed or (self._reader is not None and self._reading_paused):
            self._look_for_the_job(self._transport)
        elif self._reader is not None:
            if self._head is not None and self._head.expect_continue:
                self._interim(100, Fields())
            if silent > STALL_TIME:
                self.abort()
            else:
                self._arm(BODY_CHECK)
        elif self._busy:
            self._arm(IDLE_TIME)
        elif self._partial and silent > HEAD_TIME:
            self._reject(MalformedMessage("the request's head did not come to its end in time", 408))
        elif silent > IDLE_TIME:
            self._transport.close()
        else:
            self._arm(HEAD_TIME if self._partial else IDLE_TIME)

    def _look_while_closing(self, transport: asyncio.Transport, silent: float) -> None:
        """What is written still has to reach the job; one that takes nothing for long is given up."""
        unflushed = transport.get_write_buffer_size()
        if unflushed != self._unflushed:
            self._unflushed, self._since = unflushed, self._sweep.now()
        elif not unflushed or silent > STALL_TIME:
            self.abort()
            return
        self._arm(LINGER_TIME)

    def _look_for_the_job(self, transport: asyncio.Transport) -> None:
        """Nothing is read from the job, so only the kernel can say that it left; its tables are read in a thread."""

        def found(look: asyncio.Future[bool]) -> None:
            if self._transport is None:
                return
            if not look.cancelled() and look.result():
                self.abort()
            elif self._alarm is None:
                self._arm(PEER_CHECK if self._half_closed else BODY_CHECK)

        ends = cast("socket.socket", transport.get_extra_info("socket"))
        self._loop.run_in_executor(None, is_gone, ends).add_done_callback(found)


def _reset(transport: asyncio.Transport) -> None:
    """Closes with RST: the only ending of a connection that cannot be taken for the end of a body."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
