"""Routing: `/NAME/rest` and `/@RUN/NAME/rest`, byte-exact, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.http1.fields import Fields
from blueprint_proxy.http1.heads import RequestHead
from blueprint_proxy.inbound.routing import Route, route

UPSTREAMS = {b"gcs": "GCS", b"gemini": "GEMINI", b"my.name-2": "DOTTED"}
OWN = frozenset({b"127.0.0.1:8900", b"localhost:8900"})


def to(target: bytes, method: str = "GET", *, upgrade: bool = False) -> Route[str]:
    return route(RequestHead(method, target, 1, Fields(), host=b"a", upgrade=upgrade), UPSTREAMS, OWN)


def refusal_of(target: bytes, method: str = "GET", *, upgrade: bool = False) -> Refusal:
    with pytest.raises(Refusal) as caught:
        to(target, method, upgrade=upgrade)
    return caught.value


@pytest.mark.parametrize(
    ("target", "upstream", "rest", "prefix", "run"),
    [
        (b"/gcs/a/b", "GCS", b"/a/b", b"/gcs", None),
        (b"/gcs/", "GCS", b"/", b"/gcs", None),
        (b"/gcs", "GCS", b"/", b"/gcs", None),
        (b"/gcs?a=b", "GCS", b"/?a=b", b"/gcs", None),
        (b"/gcs?a=/b/c", "GCS", b"/?a=/b/c", b"/gcs", None),
        (b"/gcs/?a", "GCS", b"/?a", b"/gcs", None),
        (b"/gcs//a//b", "GCS", b"//a//b", b"/gcs", None),
        (b"/gcs/a?b?c/../..", "GCS", b"/a?b?c/../..", b"/gcs", None),
        (b"/gcs/%67cs/%2F%zz%", "GCS", b"/%67cs/%2F%zz%", b"/gcs", None),
        (b'/gcs/a|b{}"<>^`', "GCS", b'/a|b{}"<>^`', b"/gcs", None),
        (b"/gcs/a:generate", "GCS", b"/a:generate", b"/gcs", None),
        (b"/gcs/gemini/x", "GCS", b"/gemini/x", b"/gcs", None),
        (b"/my.name-2/a.b", "DOTTED", b"/a.b", b"/my.name-2", None),
        (b"/@run-1/gcs/a", "GCS", b"/a", b"/@run-1/gcs", "run-1"),
        (b"/@run-1/gcs", "GCS", b"/", b"/@run-1/gcs", "run-1"),
        (b"/@run-1/gcs?a", "GCS", b"/?a", b"/@run-1/gcs", "run-1"),
        (b"/@scene_1~job.2/gcs/a.b?c", "GCS", b"/a.b?c", b"/@scene_1~job.2/gcs", "scene_1~job.2"),
        (b"/gcs/@run/a", "GCS", b"/@run/a", b"/gcs", None),
    ],
)
def test_the_first_part_of_the_path_names_the_upstream(
    target: bytes, upstream: str, rest: bytes, prefix: bytes, run: str | None
) -> None:
    assert to(target) == (upstream, rest, prefix, run)


@given(st.text("abcXYZ019-_~!$&'()*+,;=:@|\"[]/", max_size=20).map(str.encode))
def test_what_stands_under_an_upstream_passes_as_it_came(rest: bytes) -> None:
    assert to(b"/gcs/" + rest).target == b"/" + rest


@pytest.mark.parametrize(
    "target",
    [
        b"/", b"//", b"//gcs/a", b"/?", b"/?gcs", b"/GCS/a", b"/gc/a", b"/gcss/a", b"/%67cs/a", b"/gcs%2Fa",
        b"/gcs;a/b", b"/gcsx", b"/gcs.", b"/./gcs/a", b"/a/../gcs/b", b"/gcs:x/a", b"/@run", b"/@run/",
        b"/@run/?gcs", b"/@run?gcs/a", b"/@run?gcs", b"/@run//gcs/a", b"/@run/@run/gcs/a",
        b"/@run/other/a", b"/my.name/a",
    ],
)  # fmt: skip
def test_a_path_that_names_no_upstream_is_refused(target: bytes) -> None:
    refusal = refusal_of(target)
    assert (refusal.reason, refusal.status) == (Reason.UNKNOWN_UPSTREAM, 404)


def test_an_unknown_upstream_is_told_the_known_ones() -> None:
    assert refusal_of(b"/other/a").message.endswith("gcs, gemini, my.name-2")


def test_an_unknown_upstream_is_told_nothing_of_its_query() -> None:
    assert "sesame" not in refusal_of(b"/other?key=sesame").message


@pytest.mark.parametrize("run", [b"", b"a%20b", b"a:b", b"a@b", b"a" * 201])
def test_a_run_with_characters_that_no_run_has_is_refused(run: bytes) -> None:
    assert refusal_of(b"/@" + run + b"/gcs/a").reason is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    "rest",
    [
        b"/..", b"/../", b"/../x", b"/..?q", b"/a/../..", b"/a/../../x", b"/./..", b"/a/./../..", b"/%2e%2e",
        b"/%2E./x", b"/.%2e/x", b"/a/%2e%2E/..", b"/a/b/../../../c", b"/..//a", b"//..", b"/a//../../x",
        b"/..\\", b"/\\..\\x",
        b"/a\\..\\..\\..", b"/..%2fx", b"/..%2Fx", b"/%2e%2e%2fx", b"/..%5cx", b"/..%5Cx", b"/a%2f..%2f..", b"/..;/x",
        b"/..;a=b/x", b"/%2e%2e;/x", b"/.;/../x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", [b"/gcs", b"/@run/gcs", b"http://localhost:8900/gcs", b"/my.name-2"])
def test_dot_segments_that_leave_the_upstreams_url_are_refused(prefix: bytes, rest: bytes) -> None:
    refusal = refusal_of(prefix + rest)
    assert (refusal.reason, refusal.status) == (Reason.BAD_REQUEST, 400)


@pytest.mark.parametrize(
    "rest",
    [
        b"/a/..", b"/a/../b", b"/.", b"/./a", b"/a/%2e%2e/b", b"/a/./b", b"/...", b"/..a", b"/a..", b"/.../...",
        b"/a..b/c", b"/a/b/../..", b"/a?../../..", b"/a?b=/../..", b"/%2e", b"/a%2e%2e", b"/o/a%2F..%2Fb",
        b"/a/..;/b", b"/%252e%252e/a",
    ],
)  # fmt: skip
def test_other_dots_pass_as_they_came(rest: bytes) -> None:
    assert to(b"/gcs" + rest).target == rest


@pytest.mark.parametrize("scheme", [b"http", b"HTTP", b"https"])
@pytest.mark.parametrize("authority", [b"127.0.0.1:8900", b"LOCALHOST:8900"])
def test_the_absolute_form_of_our_own_address_is_taken(scheme: bytes, authority: bytes) -> None:
    assert to(scheme + b"://" + authority + b"/gcs/a?b") == ("GCS", b"/a?b", b"/gcs", None)


@pytest.mark.parametrize("tail", [b"", b"/", b"?gcs", b"/?gcs/a"])
def test_the_absolute_form_without_a_name_names_no_upstream(tail: bytes) -> None:
    assert refusal_of(b"http://localhost:8900" + tail).reason is Reason.UNKNOWN_UPSTREAM


@pytest.mark.parametrize(
    "authority",
    [
        b"example.com", b"localhost", b"localhost:89", b"me@localhost:8900", b"localhost:8900@example.com", b"",
        b"localhost:8900\\@example.com",
    ],
)  # fmt: skip
def test_the_absolute_form_of_another_address_is_misdirected(authority: bytes) -> None:
    refusal = refusal_of(b"http://" + authority + b"/gcs/a")
    assert (refusal.reason, refusal.status) == (Reason.BAD_REQUEST, 421)


@pytest.mark.parametrize(
    "target", [b"*", b"gcs/a", b"ftp://localhost:8900/gcs/a", b"localhost:8900", b"http:/gcs/a", b"?a"]
)
def test_a_target_that_is_neither_path_nor_url_is_refused(target: bytes) -> None:
    refusal = refusal_of(target, "OPTIONS")
    assert (refusal.reason, refusal.status) == (Reason.BAD_REQUEST, 400)


@pytest.mark.parametrize("target", [b"example.com:443", b"/gcs/a"])
def test_connect_is_refused_and_told_what_is_allowed(target: bytes) -> None:
    refusal = refusal_of(target, "CONNECT")
    assert (refusal.reason, refusal.status) == (Reason.BAD_REQUEST, 405)
    assert [name for name, _ in refusal.headers] == [b"allow"]


def test_an_upgrade_is_refused() -> None:
    assert refusal_of(b"/gcs/a", upgrade=True).reason is Reason.BAD_REQUEST
