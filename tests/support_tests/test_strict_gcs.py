"""The strict GCS is what other tests are judged by, so it is judged here, over plain HTTP."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest

from support.strict_gcs import Fault, StrictGcs
from support.strict_gcs.model import CHUNK_UNIT, crc32c_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Caller:
    """One connection, kept alive across calls."""

    def __init__(self, gcs: StrictGcs) -> None:
        self.connection = HTTPConnection(gcs.authority, timeout=5)

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, target, body, fields)

    def call(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[HTTPResponse, bytes]:
        self.send(method, target, body, **headers)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def status(self, method: str, target: str, body: bytes = b"", **headers: str) -> int:
        return self.call(method, target, body, **headers)[0].status

    def json(self, method: str, target: str, body: bytes = b"", **headers: str) -> Any:
        return json.loads(self.call(method, target, body, **headers)[1])


@pytest.fixture
def gcs() -> Iterator[StrictGcs]:
    with StrictGcs() as running:
        running.store.create_bucket("b", {})
        yield running


@pytest.fixture
def caller(gcs: StrictGcs) -> Iterator[Caller]:
    one = Caller(gcs)
    yield one
    one.connection.close()


INSERT = "/upload/storage/v1/b/b/o?uploadType=media&name="
OBJECT = "/storage/v1/b/b/o/"
MEDIA = "/download/storage/v1/b/b/o/"


def start_upload(caller: Caller, query: str = "") -> str:
    answer, _ = caller.call("POST", f"/upload/storage/v1/b/b/o?uploadType=resumable&name=big{query}", b"{}")
    location = answer.headers["Location"]
    assert answer.status == 200
    return location[location.index("/", len("http://")) :]


def put(caller: Caller, session: str, data: bytes, first: int, total: str, **headers: str) -> HTTPResponse:
    span = f"bytes {first}-{first + len(data) - 1}/{total}" if data else f"bytes */{total}"
    return caller.call("PUT", session, data, content_range=span, **headers)[0]


def test_a_foreign_host_is_refused_and_reaches_no_operation(gcs: StrictGcs, caller: Caller) -> None:
    assert caller.status("POST", INSERT + "a", b"x", host="storage.test") == 421
    assert [request.target for request in gcs.refused] == [INSERT + "a"]
    assert "objects.insert" not in gcs.effects


def test_links_are_built_from_the_host_that_was_asked(gcs: StrictGcs, caller: Caller) -> None:
    resource = caller.json("POST", INSERT + "a%2Fb", b"x")
    assert resource["selfLink"] == f"{gcs.url}/storage/v1/b/b/o/a%2Fb"
    assert resource["mediaLink"].startswith(f"{gcs.url}/download/storage/v1/b/b/o/a%2Fb?generation=")


def test_without_the_token_only_session_addresses_are_open() -> None:
    with StrictGcs(token="t") as gcs:
        gcs.store.create_bucket("b", {})
        caller = Caller(gcs)
        assert caller.status("GET", "/storage/v1/b/b") == 401
        assert caller.status("GET", "/storage/v1/b/b", authorization="Bearer t") == 200
        answer, _ = caller.call(
            "POST", "/upload/storage/v1/b/b/o?uploadType=resumable&name=s", b"{}", authorization="Bearer t"
        )
        session = answer.headers["Location"].removeprefix(gcs.url)
        assert put(caller, session, b"abc", 0, "3").status == 200
        caller.connection.close()


def test_a_request_without_via_can_be_refused() -> None:
    with StrictGcs(only_through_proxy=True) as gcs:
        caller = Caller(gcs)
        assert caller.status("GET", "/storage/v1/b?project=p") == 403
        assert caller.status("GET", "/storage/v1/b?project=p", via="1.1 proxy") == 200
        assert len(gcs.refused) == 1
        caller.connection.close()


def test_a_generation_of_zero_means_that_nothing_may_be_there(gcs: StrictGcs, caller: Caller) -> None:
    assert caller.status("POST", INSERT + "a&ifGenerationMatch=0", b"x") == 200
    assert caller.status("POST", INSERT + "a&ifGenerationMatch=0", b"y") == 412
    assert gcs.store.object("b", "a").content == b"x"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "a?ifGenerationMatch=1", 412),
        ("GET", "a?ifMetagenerationMatch=1", 200),
        ("GET", "a?ifMetagenerationNotMatch=1", 304),
        ("DELETE", "a?ifGenerationMatch=1", 412),
        ("DELETE", "a?ifMetagenerationNotMatch=1", 412),
        ("PATCH", "a?ifMetagenerationMatch=2", 412),
        ("GET", "a?generation=1", 404),
        ("GET", "missing?ifGenerationMatch=1", 404),
        ("GET", "a?ifGenerationMatch=x", 400),
    ],
)
def test_every_precondition_is_enforced(caller: Caller, method: str, target: str, status: int) -> None:
    caller.call("POST", INSERT + "a", b"x")
    assert caller.status(method, OBJECT + target, b"{}" if method == "PATCH" else b"") == status


def test_media_carries_both_checksums_in_lines_of_their_own(caller: Caller) -> None:
    caller.call("POST", INSERT + "a", b"hello")
    answer, body = caller.call("GET", MEDIA + "a?alt=media")
    assert body == b"hello"
    assert answer.headers.get_all("x-goog-hash") == [f"crc32c={crc32c_of(b'hello')}", "md5=XUFAKrxLKna5cZ2REBfFkg=="]


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=1-2", 206, b"el", "bytes 1-2/5"),
        ("bytes=3-", 206, b"lo", "bytes 3-4/5"),
        ("bytes=-2", 206, b"lo", "bytes 3-4/5"),
        ("bytes=0-99", 206, b"hello", "bytes 0-4/5"),
        ("bytes=5-", 416, None, "bytes */5"),
        ("bytes=0-0,2-3", 200, b"hello", None),
    ],
)
def test_a_range_is_answered_as_rfc_9110_says(
    caller: Caller, wanted: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    caller.call("POST", INSERT + "a", b"hello")
    answer, got = caller.call("GET", MEDIA + "a?alt=media", range=wanted)
    assert (answer.status, answer.headers["Content-Range"]) == (status, content_range)
    assert body is None or got == body


def test_a_known_etag_saves_the_body(caller: Caller) -> None:
    caller.call("POST", INSERT + "a", b"hello")
    etag = caller.call("GET", MEDIA + "a?alt=media")[0].headers["ETag"]
    assert caller.status("GET", MEDIA + "a?alt=media", if_none_match=etag) == 304
    assert caller.status("GET", MEDIA + "a?alt=media", if_match='"other"') == 412


def test_a_wrong_checksum_stores_nothing(gcs: StrictGcs, caller: Caller) -> None:
    assert caller.status("POST", INSERT + "a", b"x", x_goog_hash="crc32c=AAAAAA==") == 400
    assert "objects.insert" not in gcs.effects


def test_a_multipart_upload_may_hold_any_bytes(gcs: StrictGcs, caller: Caller) -> None:
    content = b"\r\n--other\r\n\r\n\x00"
    body = b'--sep\r\ncontent-type: application/json\r\n\r\n{"name": "m"}\r\n--sep\r\ncontent-type: model/x\r\n\r\n'
    kind = 'multipart/related; boundary="sep"'
    target = "/upload/storage/v1/b/b/o?uploadType=multipart"
    assert caller.status("POST", target, body + content + b"\r\n--sep--", content_type=kind) == 200
    assert gcs.store.object("b", "m").content == content
    assert gcs.store.object("b", "m").settings["contentType"] == "model/x"
    assert caller.status("POST", target, body + content, content_type=kind) == 400


def test_a_resumable_upload_says_what_it_has(gcs: StrictGcs, caller: Caller) -> None:
    session = start_upload(caller)
    assert put(caller, session, b"", 0, "*").headers["Range"] is None
    answer = put(caller, session, bytes(CHUNK_UNIT), 0, "*")
    assert (answer.status, answer.headers["Range"]) == (308, f"bytes=0-{CHUNK_UNIT - 1}")
    assert put(caller, session, b"", 0, "*").headers["Range"] == f"bytes=0-{CHUNK_UNIT - 1}"
    assert put(caller, session, b"end", CHUNK_UNIT, str(CHUNK_UNIT + 3)).status == 200
    assert put(caller, session, b"", 0, "*").status == 200
    assert gcs.store.object("b", "big").content == bytes(CHUNK_UNIT) + b"end"
    assert gcs.effects["objects.insert"] == 1


@pytest.mark.parametrize(
    ("data", "first", "total"),
    [
        (bytes(10), CHUNK_UNIT, "*"),  # a gap
        (bytes(10), 0, "*"),  # no multiple of 256 KiB, and not the end
        (bytes(10), 0, "9"),  # beyond the length
        (bytes(10), 0, "11"),  # before the end, no multiple
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(
    gcs: StrictGcs, caller: Caller, data: bytes, first: int, total: str
) -> None:
    assert put(caller, start_upload(caller), data, first, total).status == 400
    assert "uploads.chunk" not in gcs.effects


def test_kept_bytes_may_come_again_only_unchanged(gcs: StrictGcs, caller: Caller) -> None:
    session = start_upload(caller)
    put(caller, session, b"a" * CHUNK_UNIT, 0, "*")
    assert put(caller, session, b"b" * CHUNK_UNIT, 0, "*").status == 400
    assert put(caller, session, b"a" * CHUNK_UNIT, 0, "*").status == 308
    assert put(caller, session, b"a" * CHUNK_UNIT + b"z", 0, str(CHUNK_UNIT + 1)).status == 200
    assert gcs.store.object("b", "big").content == b"a" * CHUNK_UNIT + b"z"


def test_a_precondition_is_checked_again_when_the_upload_is_whole(caller: Caller) -> None:
    session = start_upload(caller, "&ifGenerationMatch=0")
    caller.call("POST", INSERT + "big", b"someone was faster")
    assert put(caller, session, b"x", 0, "1").status == 412


def test_a_cancelled_session_is_gone(caller: Caller) -> None:
    session = start_upload(caller)
    assert caller.status("DELETE", session) == 499
    assert put(caller, session, b"x", 0, "1").status == 410


def test_a_list_comes_in_pages(caller: Caller) -> None:
    for name in ("p%2F1", "p%2F2", "p%2Fq%2F1", "r"):
        caller.call("POST", INSERT + name, b"x")
    first = caller.json("GET", "/storage/v1/b/b/o?prefix=p/&delimiter=/&maxResults=2")
    assert [item["name"] for item in first["items"]] == ["p/1", "p/2"]
    second = caller.json(
        "GET", f"/storage/v1/b/b/o?prefix=p/&delimiter=/&maxResults=2&pageToken={first['nextPageToken']}"
    )
    assert (second["items"], second["prefixes"], "nextPageToken" in second) == ([], ["p/q/"], False)


def test_a_composition_has_no_md5(caller: Caller) -> None:
    caller.call("POST", INSERT + "1", b"one")
    caller.call("POST", INSERT + "2", b"two")
    wanted = json.dumps({"sourceObjects": [{"name": "1"}, {"name": "2"}]}).encode()
    made = caller.json("POST", OBJECT + "all/compose", wanted)
    assert (made["size"], made["componentCount"], "md5Hash" in made) == ("6", 2, False)
    assert caller.call("GET", MEDIA + "all?alt=media")[1] == b"onetwo"


def test_a_bucket_with_objects_stays(caller: Caller) -> None:
    caller.call("POST", INSERT + "a", b"x")
    assert caller.status("DELETE", "/storage/v1/b/b") == 409
    caller.call("DELETE", OBJECT + "a")
    assert caller.status("DELETE", "/storage/v1/b/b") == 204


def test_a_fault_before_the_effect_changes_nothing(gcs: StrictGcs, caller: Caller) -> None:
    gcs.faults.add(Fault("status", "objects.insert"))
    assert [caller.status("POST", INSERT + "a", b"x") for _ in range(2)] == [503, 200]
    assert gcs.effects["objects.insert"] == 1
    assert gcs.faults.left == 0


def test_a_fault_after_the_effect_hides_only_the_answer(gcs: StrictGcs, caller: Caller) -> None:
    gcs.faults.add(Fault("status", "objects.insert", after_effect=True))
    target = INSERT + "a&ifGenerationMatch=0"
    assert [caller.status("POST", target, b"x") for _ in range(2)] == [503, 412]
    assert gcs.effects["objects.insert"] == 1


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_reset_is_a_reset(gcs: StrictGcs, caller: Caller, after_effect: bool) -> None:
    gcs.faults.add(Fault("reset", after_effect=after_effect))
    with pytest.raises(ConnectionResetError) as met:
        caller.call("POST", INSERT + "a", b"x")
    assert not isinstance(met.value, RemoteDisconnected)
    assert gcs.effects.get("objects.insert", 0) == after_effect


def test_a_cut_body_ends_before_its_length(gcs: StrictGcs, caller: Caller) -> None:
    caller.call("POST", INSERT + "a", b"0123456789")
    gcs.faults.add(Fault("cut", "objects.media", keep=4))
    with pytest.raises(IncompleteRead) as met:
        caller.call("GET", MEDIA + "a?alt=media")
    assert met.value.partial == b"0123"


def test_a_stall_ends_when_it_is_released(gcs: StrictGcs, caller: Caller) -> None:
    gcs.faults.add(Fault("stall", "objects.list"))
    caller.send("GET", "/storage/v1/b/b/o")
    gcs.faults.release()
    assert caller.connection.getresponse().status == 200


def test_a_caller_who_leaves_a_stall_is_recorded(gcs: StrictGcs, caller: Caller) -> None:
    gcs.faults.add(Fault("stall", "objects.insert"))
    caller.send("POST", INSERT + "a", b"x")
    caller.connection.close()
    assert gcs.wait_for(lambda: any(request.abandoned for request in gcs.requests))
    assert "objects.insert" not in gcs.effects


def test_a_chunk_can_be_kept_in_part(gcs: StrictGcs, caller: Caller) -> None:
    session = start_upload(caller)
    gcs.faults.add(Fault("status", "uploads.chunk", stored=CHUNK_UNIT))
    assert put(caller, session, bytes(2 * CHUNK_UNIT), 0, "*").status == 503
    assert put(caller, session, b"", 0, "*").headers["Range"] == f"bytes=0-{CHUNK_UNIT - 1}"


def test_skipped_requests_pass_before_a_fault(gcs: StrictGcs, caller: Caller) -> None:
    gcs.faults.add(Fault("status", "buckets.get", skip=1, times=2))
    assert [caller.status("GET", "/storage/v1/b/b") for _ in range(4)] == [200, 503, 503, 200]


def test_many_callers_are_served_at_once_and_keep_their_connections(gcs: StrictGcs) -> None:
    everyone = threading.Barrier(8)

    def insert(number: int) -> None:
        caller = Caller(gcs)
        everyone.wait(5)
        for turn in range(3):
            assert caller.status("POST", f"{INSERT}{number}-{turn}", b"x") == 200
        caller.connection.close()

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gcs.effects["objects.insert"] == 24
    assert gcs.connections == 8
