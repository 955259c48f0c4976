"""Request heads as the parser makes them, for tests of what a request means."""

from __future__ import annotations

from blueprint_proxy.http1.heads import RequestHead, parse_request


def request_head(method: str = "GET", target: bytes = b"/", *fields: tuple[bytes, bytes]) -> RequestHead:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    return parse_request(b"%b %b HTTP/1.1\r\nHost: proxy\r\n%b\r\n" % (method.encode(), target, lines))
