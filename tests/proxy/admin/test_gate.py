import asyncio
import json
import os
import socket

import pytest

from blueprint_proxy.admin import gate
from blueprint_proxy.admin.access import Share
from blueprint_proxy.admin.gate import BODY_LIMIT, Gate

UNIX = ("/run/admin.sock", None)
LOOPBACK = ("127.0.0.1", 8901)
POD = ("10.1.2.3", 8901)
JSON = ("content-type", "application/json")
OPERATOR = ("authorization", "Bearer operators-token")
JOB = ("authorization", "Bearer jobs-token")


class Door:
    """The gate, with an application behind it that answers 200 and notes the bodies it gets."""

    def __init__(self, state):
        self.bodies = []
        self.entered = asyncio.Event()
        self.hold = None
        self.gate = Gate(self._behind, state)
        self.fields = {}

    async def _behind(self, scope, receive, send):
        self.bodies.append((await receive()).get("body"))
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def holds(self, requests):
        """Wait until that many are inside."""
        while len(self.bodies) < requests:
            self.entered.clear()
            await self.entered.wait()

    async def knock(
        self, path, *fields, method="GET", server=LOOPBACK, host="localhost:8901", connection=None, parts=(b"",)
    ):
        """Send a request through: gives the status and the error's reason; (None, None) without any answer."""
        heads = [("host", host), *fields] if host is not None else [*fields]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "server": server,
            "client": ("203.0.113.7", 1234),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in heads],
            "state": {"connection": connection},
        }
        sent, waiting = [], list(parts)

        async def receive():
            if not waiting:
                return {"type": "http.disconnect"}
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}

        async def send(message):
            sent.append(message)

        await self.gate(scope, receive, send)
        if not sent:
            return None, None
        self.fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], json.loads(sent[1]["body"]).get("error", {}).get("reason")


@pytest.fixture
def door(state):
    return Door(state)


@pytest.fixture
def own_process():
    """A connection over a unix socket that this very process has opened."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        yield ours


@pytest.fixture
def knock(door, own_process):
    """Send a request's head through the gate: gives the status, 200 where it passed, and the error's reason."""

    def knock(path="/v1/upstreams", *fields, **options):
        return asyncio.run(door.knock(path, *fields, **{"connection": own_process, **options}))

    return knock


PASSED = (200, None)
MISDIRECTED = (421, "bad_request")
UNAUTHENTICATED = (401, "unauthenticated")
FORBIDDEN = (403, "forbidden")


@pytest.mark.parametrize("server", [LOOPBACK, ("::1", 8901), UNIX])
def test_without_a_token_the_operator_scope_is_open_on_loopback_and_unix_sockets(knock, server):
    assert knock(server=server) == PASSED


def test_without_a_token_the_operator_scope_is_closed_on_any_other_address(knock):
    assert knock(server=POD, host="10.1.2.3:8901") == FORBIDDEN


def test_with_a_token_the_operator_scope_needs_it_everywhere(knock, state):
    state.token = "s3cret"
    for server in (LOOPBACK, UNIX):
        assert knock(server=server) == UNAUTHENTICATED
        assert knock("/v1/upstreams", ("authorization", "Bearer s3cret"), server=server) == PASSED
    assert knock("/v1/upstreams", ("authorization", "bearer s3cret"), server=POD, host="10.1.2.3:8901") == PASSED


@pytest.mark.parametrize(
    "given",
    [
        "Bearer wrong",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Bearer",
        "Bearer ",
        "",
        "s3cret",
        "Basic s3cret",
        "Bearer \xe9",
    ],
)
def test_a_wrong_token_is_refused(knock, state, given):
    state.token = "s3cret"
    assert knock("/v1/upstreams", ("authorization", given)) == UNAUTHENTICATED


def test_two_authorization_fields_are_refused(knock, state):
    state.token = "s3cret"
    field = ("authorization", "Bearer s3cret")
    assert knock("/v1/upstreams", field, field) == UNAUTHENTICATED


@pytest.mark.parametrize("given", ["Bearer", "Bearer ", "Bearer  "])
def test_an_empty_token_opens_nothing(knock, state, given):
    state.token = ""
    assert knock("/v1/upstreams", ("authorization", given)) == UNAUTHENTICATED


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_health_and_metrics_are_open_whatever_the_token_and_address(knock, state, path):
    state.token = "s3cret"
    assert knock(path) == PASSED
    assert knock(path, server=POD, host="10.1.2.3:8901") == PASSED


@pytest.mark.parametrize("path", ["/v1/config\n", "/livez\n", "/v1/runs/x/lease\n"])
def test_a_path_that_ends_with_a_line_is_none_whoever_asks(knock, path):
    assert knock(path) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/nope", "/livez/", "//livez", "/v1/runs", "/v1/addresses\n"]
)
def test_a_path_that_nobody_opened_is_closed(knock, state, path):
    state.token = "s3cret"
    assert knock(path) == UNAUTHENTICATED


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8901", "127.0.0.1:1", "[::1]:8901", "sidecar.internal:8901"])
def test_a_host_we_know_passes(knock, host):
    assert knock(host=host) == PASSED


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8901",
        "localhost.evil.example",
        "localhost@evil",
        "[::1",
        "",
        "a, localhost",
        "10.1.2.3",
        None,
    ],
)
def test_a_host_we_do_not_know_is_misdirected_even_on_open_paths(knock, host):
    assert knock(host=host) == MISDIRECTED
    assert knock("/metrics", host=host) == MISDIRECTED


def test_a_second_host_field_is_misdirected(knock):
    assert knock("/livez", ("host", "localhost")) == MISDIRECTED


def test_a_probe_may_name_the_address_it_came_to(knock):
    assert knock("/readyz", server=POD, host="10.1.2.3:8901") == PASSED
    assert knock("/readyz", server=("fd00::7", 8901), host="[fd00::7]:8901") == PASSED


class OtherUser:
    """A connection over a unix socket from a process of another user."""

    family = socket.AF_UNIX

    def __init__(self, uid):
        self.uid = uid

    def getsockopt(self, *_):
        return (4711).to_bytes(4, "little") + self.uid.to_bytes(4, "little") * 2


@pytest.mark.parametrize("path", ["/livez", "/v1/addresses", "/v1/upstreams"])
def test_over_a_unix_socket_another_users_process_gets_nothing(knock, path):
    assert knock(path, server=UNIX, connection=OtherUser(os.geteuid() + 1)) == FORBIDDEN


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_over_a_unix_socket_root_and_our_own_user_pass(knock, uid):
    assert knock(server=UNIX, connection=OtherUser(uid)) == PASSED


def test_over_a_unix_socket_a_process_that_is_not_known_gets_nothing(knock):
    assert knock(server=UNIX, connection=None) == FORBIDDEN


def test_over_a_unix_socket_any_host_passes(knock):
    assert knock(server=UNIX, host="blueprint") == PASSED


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost:8901", "http://localhost:1", ""])
def test_a_page_of_another_origin_is_refused(knock, origin):
    assert knock("/metrics", ("origin", origin)) == FORBIDDEN


def test_a_page_of_our_own_origin_passes(knock):
    assert knock("/v1/upstreams", ("origin", "http://localhost:8901")) == PASSED


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_a_json_post_passes(knock, kind):
    assert knock("/v1/upstreams", ("content-type", kind), method="POST") == PASSED


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("content-type", "text/plain")],
        [("content-type", "application/jsonp")],
        [("content-type", "text/plain; application/json")],
        [JSON, ("content-type", "text/plain")],
    ],
)
def test_a_post_of_anything_but_json_is_refused(knock, fields):
    assert knock("/v1/upstreams", *fields, method="POST") == (415, "bad_request")


# the two scopes

JOB_PATHS = [
    ("GET", "/v1/addresses"),
    ("GET", "/v1/secrets/x"),
    ("POST", "/v1/runs"),
    ("GET", "/v1/runs/x/lease"),
    ("POST", "/v1/runs/x/end"),
    ("POST", "/v1/guard/x"),
    ("POST", "/v1/guard/x/y"),
]
OPERATOR_PATHS = [
    ("POST", "/v1/drain"),
    ("POST", "/v1/upstreams/gcs/breaker"),
    ("GET", "/v1/config"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/x/cost"),
    ("GET", "/v1/events"),
    ("GET", "/v1/upstreams"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("DELETE", "/v1/runs/x/end"),
    ("GET", "/nope"),
]


@pytest.fixture
def tokens(state):
    state.token, state.jobs = "operators-token", "jobs-token"


def ask(knock, method, path, *fields, **options):
    return knock(path, *fields, *([JSON] if method == "POST" else []), method=method, **options)


@pytest.mark.parametrize(("method", "path"), JOB_PATHS)
def test_a_job_path_opens_to_either_token(knock, tokens, method, path):
    assert ask(knock, method, path, JOB) == PASSED
    assert ask(knock, method, path, OPERATOR) == PASSED
    assert ask(knock, method, path) == UNAUTHENTICATED
    assert ask(knock, method, path, ("authorization", "Bearer other")) == UNAUTHENTICATED


@pytest.mark.parametrize(("method", "path"), OPERATOR_PATHS)
def test_a_job_token_never_opens_an_operators_path(knock, state, tokens, method, path):
    assert ask(knock, method, path, JOB) == FORBIDDEN
    assert ask(knock, method, path, OPERATOR) == PASSED
    assert ask(knock, method, path) == UNAUTHENTICATED


@pytest.mark.parametrize(("method", "path"), OPERATOR_PATHS)
@pytest.mark.parametrize("server", [LOOPBACK, UNIX])
def test_with_a_job_token_alone_operators_paths_are_closed_to_everybody(knock, state, method, path, server):
    state.jobs = "jobs-token"
    assert ask(knock, method, path, server=server) == FORBIDDEN
    assert ask(knock, method, path, JOB, server=server) == FORBIDDEN


@pytest.mark.parametrize(("method", "path"), JOB_PATHS)
def test_without_a_job_token_job_paths_are_open_on_this_host_alone(knock, state, method, path):
    for state.token in (None, "operators-token"):
        assert ask(knock, method, path) == PASSED
        assert ask(knock, method, path, server=UNIX) == PASSED
        assert ask(knock, method, path, server=POD, host="10.1.2.3") == FORBIDDEN


def test_an_operator_passes_on_a_job_path_from_another_host_too(knock, state):
    state.token = "operators-token"
    assert knock("/v1/addresses", OPERATOR, server=POD, host="10.1.2.3") == PASSED


@pytest.mark.parametrize(
    ("path", "fields", "challenge"),
    [
        ("/v1/addresses", [], 'Bearer realm="blueprint-proxy job"'),
        (
            "/v1/addresses",
            [("authorization", "Bearer other")],
            'Bearer realm="blueprint-proxy job", error="invalid_token"',
        ),
        ("/v1/config", [], 'Bearer realm="blueprint-proxy operator"'),
        ("/v1/config", [JOB], 'Bearer realm="blueprint-proxy operator", error="insufficient_scope", scope="operator"'),
    ],
)
def test_a_refusal_says_which_token_is_needed(door, knock, tokens, path, fields, challenge):
    knock(path, *fields)
    assert door.fields["www-authenticate"] == challenge


def test_a_refusal_for_want_of_an_operator_token_says_what_to_configure(door, state):
    state.jobs = "jobs-token"

    async def asked():
        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": "/v1/config", "scheme": "http", "server": LOOPBACK,
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip
        await door.gate(scope, None, send)
        return sent[1]["body"]

    assert b"configure admin.token" in asyncio.run(asked())


def test_what_is_protected_is_kept_by_nobody(door, knock):
    knock("/v1/upstreams")
    assert (door.fields["cache-control"], door.fields["x-content-type-options"]) == ("no-store", "nosniff")


# bodies


def test_a_body_in_parts_reaches_the_route_whole(door, knock):
    assert ask(knock, "POST", "/v1/runs", parts=[b"{", b'"a"', b": 1}"]) == PASSED
    assert door.bodies == [b'{"a": 1}']


@pytest.mark.parametrize("length", [str(BODY_LIMIT + 1), "9" * 30, "-1", "1e3"])
def test_a_body_that_is_declared_too_long_is_refused_before_it_is_read(door, knock, length):
    assert ask(knock, "POST", "/v1/runs", ("content-length", length), parts=[]) == (413, "too_large")
    assert door.bodies == []


def test_a_body_that_grows_too_long_is_refused(door, knock):
    half = b"x" * (BODY_LIMIT // 2)
    assert ask(knock, "POST", "/v1/runs", parts=[half, half]) == PASSED
    assert ask(knock, "POST", "/v1/runs", parts=[half, half, b"x"]) == (413, "too_large")
    assert len(door.bodies) == 1


def test_who_leaves_before_its_body_is_whole_gets_no_answer_and_no_route_runs(door, own_process):
    async def leaving():
        sent = []

        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/runs", "scheme": "http", "server": LOOPBACK,
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }  # fmt: skip
        await door.gate(scope, receive, send)
        return sent

    assert asyncio.run(leaving()) == []
    assert door.bodies == []


# places


@pytest.mark.parametrize(
    ("method", "path", "share", "others"),
    [
        ("GET", "/v1/runs/x/lease", Share.LEASES, [("GET", "/v1/upstreams"), ("GET", "/v1/events")]),
        ("GET", "/v1/events", Share.EVENTS, [("GET", "/v1/upstreams"), ("POST", "/v1/drain")]),
        ("POST", "/v1/guard/x/y", Share.GUARD, [("GET", "/v1/upstreams"), ("GET", "/v1/runs/x/lease")]),
        ("GET", "/v1/secrets/x", Share.JOBS, [("GET", "/v1/upstreams"), ("POST", "/v1/upstreams/x/breaker")]),
        ("POST", "/v1/runs", Share.JOBS, [("GET", "/v1/upstreams"), ("POST", "/v1/drain")]),
        (
            "GET",
            "/v1/config",
            Share.ORDERS,
            [("GET", "/v1/runs/x/lease"), ("POST", "/v1/guard/x"), ("POST", "/v1/runs")],
        ),
    ],
)
def test_held_requests_use_up_only_places_of_their_own_sort(door, method, path, share, others):
    async def crowd():
        door.hold = asyncio.Event()
        fields = [JSON] if method == "POST" else []
        async with asyncio.TaskGroup() as tasks:
            held = [tasks.create_task(door.knock(path, *fields, method=method)) for _ in range(share.places)]
            await door.holds(share.places)
            assert await door.knock(path, *fields, method=method) == (503, "overloaded")
            assert door.fields["retry-after"] == "1"
            door.hold.set()
            for other_method, other in others:
                kinds = [JSON] if other_method == "POST" else []
                assert await door.knock(other, *kinds, method=other_method) == PASSED
            assert await door.knock("/livez") == PASSED
        assert {task.result() for task in held} == {PASSED}
        assert await door.knock(path, *fields, method=method) == PASSED

    asyncio.run(crowd())


def test_probes_get_through_whatever_is_held(door):
    async def crowd():
        door.hold = asyncio.Event()
        paths = {"/v1/runs/x/lease": Share.LEASES, "/v1/events": Share.EVENTS, "/v1/upstreams": Share.ORDERS}
        async with asyncio.TaskGroup() as tasks:
            for path, share in paths.items():
                for _ in range(share.places):
                    tasks.create_task(door.knock(path))
            await door.holds(sum(share.places for share in paths.values()))
            probe = tasks.create_task(door.knock("/readyz"))
            door.entered.clear()
            await door.entered.wait()
            door.hold.set()
            assert await probe == PASSED

    asyncio.run(crowd())


@pytest.mark.parametrize("given", [JOB, OPERATOR, ("authorization", "Bearer x"), ("authorization", "Basic x")])
def test_both_tokens_are_compared_in_constant_time_whatever_is_shown(knock, tokens, monkeypatch, given):
    compared = []
    monkeypatch.setattr(gate.hmac, "compare_digest", lambda one, other: compared.append(other) or one == other)
    knock("/v1/addresses", given)
    assert compared == [b"operators-token", b"jobs-token"]
