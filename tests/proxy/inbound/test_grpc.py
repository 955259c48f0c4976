"""One RPC of a job, from its metadata to its status, with a context that only remembers."""

import asyncio

import grpc
import pytest

from blueprint_proxy.bodies.messages import MessageStream
from blueprint_proxy.errors import Reason, Refusal, UpstreamBroke
from blueprint_proxy.inbound.grpc import RpcListener
from blueprint_proxy.rpc.codes import Code
from blueprint_proxy.rpc.exchange import RpcReply, Status
from support.rpc import ScriptedMessages, rpc_call
from support.scripted_upstream import Heard
from support.virtual_time import virtual_time


class Context:
    """A servicer's context: what the job sends, and what was done with it."""

    def __init__(self, *messages, left=1e18):
        self.messages = list(messages)
        self.left = left
        self.initial = None
        self.written = []
        self.code, self.details, self.trailing = None, "", ()

    def time_remaining(self):
        return self.left

    async def read(self):
        if not self.messages:
            await asyncio.get_running_loop().create_future()
        return self.messages.pop(0)

    async def write(self, message):
        self.written.append(message)

    async def send_initial_metadata(self, pairs):
        self.initial = pairs

    def set_trailing_metadata(self, pairs):
        self.trailing = pairs

    def set_code(self, code):
        self.code = code

    def set_details(self, details):
        self.details = details

    def __getitem__(self, key):
        return dict(self.trailing).get(key)


class Upstream:
    """Answers with what it was given: a reply, or an error."""

    def __init__(self, answer, *, unary=True, name="up"):
        self.answer, self.name, self.kind_name, self._unary = answer, name, "grpc", unary
        self.asked = None

    def unary(self, method):
        return self._unary

    def rpc(self, method, metadata, message, **how):
        self.asked = (method, metadata, message, how)
        return rpc_call(unary=message is not None, message=message or b"", metadata=metadata, upstream=self.name)

    def check(self, call, size):
        if size > 3:
            raise Refusal(Reason.TOO_LARGE, "too large", sent=None)

    async def send(self, call):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class NoRuns:
    """A registry that takes every name for a run of its own."""

    only = None

    def named(self, name):
        return name


class Details:
    def __init__(self, *metadata, method="/a.B/c"):
        self.method, self.invocation_metadata = method, metadata


def listening(*upstreams, heard=None, token=None):
    return RpcListener(
        {upstream.name.encode(): upstream for upstream in upstreams},
        telemetry=(heard or Heard()).telemetry,
        via=b"blueprint-proxy-1234",
        token=token,
        request_id=lambda given: "made" if given is None else given.decode(),
        runs=NoRuns(),
    )


async def end(handler, context, message=b"ping"):
    """Runs a handler to its end; the reply of a unary one."""
    if handler.unary_unary is not None:
        return await handler.unary_unary(message, context)
    return await handler.stream_stream(None, context)


@virtual_time
async def test_a_unary_call_is_answered_whole():
    up = Upstream(RpcReply(Status(Code.OK, "fine", (("t", "1"),)), (("i", "1"),), b"pong"))
    context = Context()
    handler = listening(up).service(Details(("k", "v"), ("x-blueprint-run", "r-1"), ("x-request-id", "id-1")))
    assert await end(handler, context) == b"pong"
    assert (context.initial, context.code, context.details) == ((("i", "1"),), grpc.StatusCode.OK, "fine")
    assert (context["t"], context["x-request-id"], context["x-blueprint-source"]) == ("1", "id-1", "upstream")
    method, metadata, message, how = up.asked
    assert (method, message, how["run"], how["left"]) == ("/a.B/c", b"ping", "r-1", None)
    assert metadata[-1] == ("via", "2.0 blueprint-proxy-1234")


@virtual_time
async def test_the_jobs_deadline_is_handed_on():
    up = Upstream(RpcReply(Status(), (), b""))
    await end(listening(up).service(Details()), Context(left=2.5))
    assert up.asked[3]["left"] == 2.5


@virtual_time
async def test_a_failure_is_passed_on_as_it_is():
    context = Context()
    up = Upstream(RpcReply(Status(Code.DATA_LOSS, "wäh", (("d-bin", b"\0"),)), (), b""))
    await end(listening(up).service(Details()), context)
    assert (context.code, context.details, context["d-bin"]) == (grpc.StatusCode.DATA_LOSS, "wäh", b"\0")


@virtual_time
async def test_a_refusal_of_a_call_is_told_once_by_its_layers():
    heard, context = Heard(), Context()
    up = Upstream(Refusal(Reason.OVERLOADED, "full", sent=False))
    await end(listening(up, heard=heard).service(Details()), context)
    assert (context.code, context["x-blueprint-error"]) == (grpc.StatusCode.UNAVAILABLE, "overloaded")
    assert heard.names() == []


@pytest.mark.parametrize(
    ("metadata", "token", "reason"),
    [
        ((), b"s3cret", "unauthenticated"),
        ((("x-blueprint-token", "wrong"),), b"s3cret", "unauthenticated"),
        ((("via", "2.0 blueprint-proxy-1234"),), None, "loop"),
        ((("x-blueprint-run", "a b"),), None, "bad_request"),
        ((("x-blueprint-upstream", "nobody"),), None, "unknown_upstream"),
    ],
)
@virtual_time
async def test_what_may_not_come_in_is_refused_and_told(metadata, token, reason):
    heard, context = Heard(), Context()
    up = Upstream(RpcReply(Status(), (), b""))
    await end(listening(up, heard=heard, token=token).service(Details(*metadata)), context)
    assert context["x-blueprint-error"] == reason
    assert up.asked is None
    assert [event["reason"] for event in heard.all("call_refused")] == [reason]


@virtual_time
async def test_the_right_token_opens():
    up = Upstream(RpcReply(Status(), (), b"ok"))
    assert await end(listening(up, token=b"s").service(Details(("x-blueprint-token", "s"))), Context()) == b"ok"


@virtual_time
async def test_a_stream_goes_both_ways():
    messages = ScriptedMessages(b"1", b"2", Status(Code.OK, "", (("t", "1"),)), initial=(("i", "1"),))
    up = Upstream(RpcReply(Status(), (), MessageStream(messages)), unary=False)
    up.answer.body.on_status = up.answer.end
    context = Context(b"a", b"b", grpc.aio.EOF)
    await end(listening(up).service(Details()), context)
    assert (context.initial, context.written, context.code) == ((("i", "1"),), [b"1", b"2"], grpc.StatusCode.OK)
    assert context["t"] == "1"


@virtual_time
async def test_the_jobs_messages_and_its_half_close_go_up():
    messages = ScriptedMessages()
    up = Upstream(RpcReply(Status(), (), MessageStream(messages)), unary=False)
    relaying = asyncio.get_running_loop().create_task(
        end(listening(up).service(Details()), Context(b"a", b"b", grpc.aio.EOF))
    )
    await messages.half_closed.wait()
    assert messages.written == [b"a", b"b"]
    relaying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await relaying
    assert messages.cancelled.is_set()


@virtual_time
async def test_a_message_that_is_too_large_ends_a_stream():
    messages = ScriptedMessages()
    up = Upstream(RpcReply(Status(), (), MessageStream(messages)), unary=False)
    context = Context(b"abc", b"abcd")
    await end(listening(up).service(Details()), context)
    assert (context.code, context["x-blueprint-error"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large")
    assert (messages.written, messages.cancelled.is_set()) == ([b"abc"], True)


@virtual_time
async def test_a_status_alone_has_no_initial_metadata_before_it():
    messages = ScriptedMessages(Status(Code.NOT_FOUND, "no"))
    up = Upstream(RpcReply(Status(), (), MessageStream(messages)), unary=False)
    up.answer.body.on_status = up.answer.end
    context = Context()
    await end(listening(up).service(Details()), context)
    assert (context.initial, context.code, context.details) == (None, grpc.StatusCode.NOT_FOUND, "no")


@virtual_time
async def test_a_connection_lost_in_the_middle_is_the_status_that_the_library_gives():
    error = UpstreamBroke("Stream removed", sent=True)
    messages = ScriptedMessages(b"1", Status(Code.UNAVAILABLE, "Stream removed"), error=error)
    up = Upstream(RpcReply(Status(), (), MessageStream(messages)), unary=False)
    up.answer.body.on_status = up.answer.end
    context = Context()
    await end(listening(up).service(Details()), context)
    assert (context.written, context.code, context.details) == ([b"1"], grpc.StatusCode.UNAVAILABLE, "Stream removed")
