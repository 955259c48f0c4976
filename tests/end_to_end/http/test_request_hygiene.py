"""What of a call passes: everything that is the job's, nothing that is the connection's or the proxy's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.wire import reply, request

if TYPE_CHECKING:
    from support.stage import Stage

HOP_BY_HOP = (
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic c2VjcmV0"),
    ("TE", "trailers"),
)
ADDED = {b"host", b"via", b"x-request-id"}


def test_a_plain_call_is_answered(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello", ("Content-Type", "text/plain")))
    answer = plain.call()
    assert (answer.status, answer.body, answer.value("content-type")) == (200, b"hello", b"text/plain")


def test_the_reply_says_where_it_came_from(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"hello"))
    answer = plain.call()
    assert answer.value("x-blueprint-upstream") == plain.name.encode()
    assert answer.value("x-blueprint-source") == b"upstream"
    assert answer.attempts == 1
    assert answer.error is None
    assert answer.value("x-request-id")


def test_hop_by_hop_fields_of_the_request_stay_here(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call("GET", "/thing", *HOP_BY_HOP)
    seen = {name.lower() for name in plain.upstream.requests[0].names}
    assert not seen & {name.lower().encode() for name, _ in HOP_BY_HOP}


def test_a_field_that_connection_names_stays_here(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call("GET", "/thing", ("X-Mine", "1"), ("Connection", "x-mine, keep-alive"), ("X-Other", "2"))
    sent = plain.upstream.requests[0]
    assert sent.values("x-mine") == []
    assert sent.value("x-other") == b"2"
    assert b"x-mine" not in b",".join(sent.values("connection")).lower()


@pytest.mark.parametrize("named", ["content-length", "host", "transfer-encoding"])
def test_connection_cannot_name_the_framing_away(plain: Stage, named: str) -> None:
    plain.upstream.echo()
    answer = plain.call("POST", "/thing", ("Connection", named), body=b"12345")
    if answer.status == 400:
        assert plain.upstream.requests == []
        return
    sent = plain.upstream.requests[0]
    assert sent.body == b"12345"
    assert sent.value("host") is not None


def test_hop_by_hop_fields_of_the_reply_stay_here(plain: Stage) -> None:
    fields = (
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("X-Theirs", "1"),
        ("Connection", "x-theirs"),
        ("X-Other", "2"),
    )
    plain.upstream.answer(reply(200, b"", *fields))
    answer = plain.call()
    for gone in ("keep-alive", "proxy-authenticate", "x-theirs"):
        assert answer.values(gone) == []
    assert answer.value("x-other") == b"2"


def test_via_is_added_in_both_directions(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"", ("Via", "1.1 theirs")))
    answer = plain.call("GET", "/thing", ("Via", "1.1 ours"))
    sent = b", ".join(plain.upstream.requests[0].values("via"))
    came = b", ".join(answer.values("via"))
    assert re.fullmatch(rb"1\.1 ours, 1\.1 [^,]+", sent)
    assert re.fullmatch(rb"1\.1 theirs, 1\.1 [^,]+", came)


def test_via_names_the_version_in_which_the_message_came(plain: Stage) -> None:
    plain.upstream.answer(reply())
    client = plain.client()
    client.send(request("GET", plain.path(), minor=0))
    client.read_reply()
    via = plain.upstream.requests[0].value("via")
    assert via is not None
    assert via.startswith(b"1.0 ")


def test_a_call_that_has_been_here_before_is_a_loop(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call()
    via = plain.upstream.requests[0].value("via")
    assert via is not None
    answer = plain.call("GET", "/thing", ("Via", f"1.1 other, {via.decode()}"))
    assert (answer.status, answer.error) == (508, "loop")
    assert len(plain.upstream.requests) == 1


def test_names_keep_their_case_their_order_and_their_duplicates(plain: Stage) -> None:
    plain.upstream.answer(reply())
    fields = (
        ("X-zULU", "1"),
        ("accept", "a/b"),
        ("X-Alpha", "2"),
        ("x-alpha", "3"),
        ("Cookie", "a=1"),
        ("X-ALPHA", "2"),
        ("cookie", "b=2"),
        ("x-empty", ""),
    )
    plain.call("GET", "/thing", *fields)
    sent = [pair for pair in plain.upstream.requests[0].fields if pair[0].lower() not in ADDED]
    assert sent == [(name.encode(), value.encode()) for name, value in fields]


def test_the_replys_fields_keep_their_case_order_and_duplicates(plain: Stage) -> None:
    fields = (("set-cookie", "a=1"), ("X-bIG", "1"), ("Set-Cookie", "b=2"), ("ETag", '"x"'))
    plain.upstream.answer(reply(200, b"", *fields))
    answer = plain.call()
    theirs = {name.lower().encode() for name, _ in fields}
    assert [pair for pair in answer.fields if pair[0].lower() in theirs] == [
        (name.encode(), value.encode()) for name, value in fields
    ]


def test_the_reason_phrase_passes(plain: Stage) -> None:
    plain.upstream.answer(reply(418, b"", reason="Short and stout"))
    assert plain.call().start_line == b"HTTP/1.1 418 Short and stout"


def test_latin1_bytes_in_values_pass_both_ways(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"", ("X-Town", "K\xf6ln \xff")))
    answer = plain.call("GET", "/thing", ("X-Town", "\xc5rhus \x80\xfe"))
    assert plain.upstream.requests[0].value("x-town") == b"\xc5rhus \x80\xfe"
    assert answer.value("x-town") == b"K\xf6ln \xff"


@pytest.mark.parametrize(
    "rest",
    [
        "/a%2Fb%2fc",
        "//double//slash/",
        "/~tilde/'quote'/(paren)/!$&*+,;=:@",
        "/b/bucket/o/scenes%2Fkitchen%2Fmesh.usd?alt=media",
        "/trailing?",
        "/query?a=1&a=2&b=%2F%20+&c=[]{}|^`&=",
        "/?",
        "/",
        "",
        "?only=query",
        "/a/.hidden/...three",
        "/percent%zz%",
        "/colon:generateContent?key=",
    ],
)
def test_the_path_and_query_pass_raw(plain: Stage, rest: str) -> None:
    plain.upstream.answer(reply())
    assert plain.call("GET", rest).status == 200
    expected = rest if rest.startswith("/") else "/" + rest
    assert plain.upstream.requests[0].target == expected.encode()


def test_a_content_coding_passes_untouched(plain: Stage) -> None:
    zipped = b"\x1f\x8b\x08 not really gzip \x00\xff"
    plain.upstream.answer(reply(200, zipped, ("Content-Encoding", "gzip")))
    fields = (("Content-Encoding", "br"), ("Accept-Encoding", "gzip;q=0.5, br"))
    answer = plain.call("POST", "/thing", *fields, body=b"\x00\x01\xfe")
    sent = plain.upstream.requests[0]
    assert (sent.body, sent.value("content-encoding")) == (b"\x00\x01\xfe", b"br")
    assert sent.value("accept-encoding") == b"gzip;q=0.5, br"
    assert (answer.body, answer.value("content-encoding")) == (zipped, b"gzip")


def test_nothing_asks_for_a_content_coding_that_the_job_did_not_ask_for(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call()
    assert plain.upstream.requests[0].values("accept-encoding") == []
    assert plain.upstream.requests[0].values("user-agent") == []


def test_host_is_the_upstreams(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call()
    assert plain.upstream.requests[0].value("host") == plain.upstream.url.removeprefix("http://").encode()


def test_none_of_our_own_fields_go_upstream(plain: Stage) -> None:
    plain.upstream.answer(reply())
    answer = plain.call(
        "GET",
        "/thing",
        ("x-blueprint-timeout-ms", "5000"),
        ("X-Blueprint-Operation", "fetch"),
        ("X-BLUEPRINT-Whatever", "1"),
    )
    assert answer.status == 200
    assert b"x-blueprint" not in plain.upstream.received.lower()


def test_the_upstream_cannot_speak_in_our_name(plain: Stage) -> None:
    fields = (
        ("x-blueprint-attempts", "99"),
        ("X-Blueprint-Source", "journal"),
        ("x-blueprint-error", "hung"),
        ("x-blueprint-not-sent", "true"),
    )
    plain.upstream.answer(reply(200, b"", *fields))
    answer = plain.call()
    assert answer.value("x-blueprint-attempts") == b"1"
    assert answer.value("x-blueprint-source") == b"upstream"
    assert answer.error is None
    assert answer.value("x-blueprint-not-sent") is None


def test_a_valid_request_id_is_kept_and_passed_on(plain: Stage) -> None:
    plain.upstream.answer(reply())
    answer = plain.call("GET", "/thing", ("X-Request-Id", "job-7.step_12"))
    assert answer.value("x-request-id") == b"job-7.step_12"
    assert plain.upstream.requests[0].value("x-request-id") == b"job-7.step_12"


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "a/b", "ü", "", 'q"'])
def test_an_invalid_request_id_is_replaced(plain: Stage, bad: str) -> None:
    plain.upstream.answer(reply())
    answer = plain.call("GET", "/thing", ("x-request-id", bad))
    kept = answer.value("x-request-id")
    assert kept is not None
    assert re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", kept)
    assert plain.upstream.requests[0].values("x-request-id") in ([kept], [])


def test_the_jobs_request_id_stands_alone_in_the_reply(plain: Stage) -> None:
    plain.upstream.answer(reply(200, b"", ("X-Request-Id", "theirs")))
    answer = plain.call("GET", "/thing", ("x-request-id", "ours"))
    assert answer.values("x-request-id") == [b"ours"]


def test_a_trace_is_joined_and_goes_on_with_a_parent_of_our_own(plain: Stage) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    plain.upstream.answer(reply())
    plain.call("GET", "/thing", ("traceparent", trace), ("tracestate", "vendor=1"))
    request = plain.upstream.requests[0]
    version, trace_id, parent, flags = request.value("traceparent").decode().split("-")
    assert (version, trace_id, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "01")
    assert parent != "b7ad6b7169203331"
    assert request.value("tracestate") == b"vendor=1"


def test_what_is_no_traceparent_passes_as_it_is(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call("GET", "/thing", ("traceparent", "00-zero-one-01"))
    assert plain.upstream.requests[0].value("traceparent") == b"00-zero-one-01"


def test_any_method_token_passes(plain: Stage) -> None:
    plain.upstream.answer(reply())
    assert plain.call("PROPFIND", "/thing").status == 200
    assert plain.call("PATCH", "/thing", body=b"x").status == 200
    assert plain.call("DELETE", "/thing").status == 200
    assert [sent.method for sent in plain.upstream.requests] == ["PROPFIND", "PATCH", "DELETE"]


def test_a_post_with_an_empty_body_says_so_upstream(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call("POST", "/thing", body=b"")
    assert plain.upstream.requests[0].value("content-length") == b"0"


def test_a_request_without_a_body_gets_no_framing(plain: Stage) -> None:
    plain.upstream.answer(reply())
    plain.call("GET", "/thing")
    assert plain.upstream.requests[0].framing == "none"
