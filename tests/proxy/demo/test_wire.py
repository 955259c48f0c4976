import asyncio

import pytest

from blueprint_proxy.demo.wire import Request, Response, read_request, send


class Sink:
    def __init__(self):
        self.sent = b""

    def write(self, data):
        self.sent += data

    async def drain(self):
        pass


def read(data):
    async def run():
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_request(reader, Sink())

    return asyncio.run(run())


def written(response, *, method="GET", **how):
    sink = Sink()
    goes_on = asyncio.run(send(response, Request(method, "/", "HTTP/1.1", ()), sink, **how))
    return sink.sent.partition(b"\r\n\r\n")[2], goes_on


def test_a_chunked_request_is_read_without_its_framing():
    assert read(b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n").body == b"abc"


def test_a_connection_that_ends_between_requests_ends_cleanly():
    assert read(b"") is None


def test_a_request_that_breaks_off_is_an_error():
    with pytest.raises(asyncio.IncompleteReadError):
        read(b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc")


def test_an_answer_to_head_has_no_body():
    assert written(Response(200, body=b"abc"), method="HEAD") == (b"", True)


def test_a_cut_in_chunks_leaves_the_last_chunk_open():
    assert written(Response(200, body=(b"abc", b"defg")), cut_after=5) == (b"3\r\nabc\r\n4\r\nde", False)


def test_a_cut_behind_the_end_cuts_nothing():
    assert written(Response(200, body=b"abc"), cut_after=9) == (b"abc", True)
