import pytest

from blueprint_proxy.admin.access import REST, TABLE, NoPlace, Places, Scope, Share, rule_of
from blueprint_proxy.admin.connection import MOST_CONNECTIONS


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/livez", Scope.OPEN),
        ("HEAD", "/metrics", Scope.OPEN),
        ("GET", "/v1/addresses", Scope.JOB),
        ("POST", "/v1/addresses", Scope.OPERATOR),
        ("GET", "/v1/secrets/gemini-api-key", Scope.JOB),
        ("GET", "/v1/secrets/a/b", Scope.OPERATOR),
        ("GET", "/v1/secrets/", Scope.OPERATOR),
        ("GET", "/v1/runs/0f/lease", Scope.JOB),
        ("GET", "/v1/runs/0f/cost", Scope.OPERATOR),
        ("POST", "/v1/runs", Scope.JOB),
        ("GET", "/v1/runs", Scope.OPERATOR),
        ("POST", "/v1/guard/spatial/permit", Scope.JOB),
        ("POST", "/v1/guard/spatial/permit/more", Scope.OPERATOR),
        ("POST", "/v1/drain", Scope.OPERATOR),
        ("GET", "/v1/drain GET /livez", Scope.OPERATOR),
        ("GET", "/livez\n", Scope.OPERATOR),
        ("GET", "", Scope.OPERATOR),
    ],
)
def test_a_path_is_for_whom_the_table_says_and_else_for_operators(method, path, scope):
    assert rule_of(method, path).scope is scope


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: f"{rule.method} {rule.template}")
def test_every_row_is_found(rule):
    assert rule_of(rule.method or "GET", rule.template.replace("{}", "x")) is rule


def test_what_is_nowhere_in_the_table_takes_a_place_too():
    assert rule_of("GET", "/nope") is REST
    assert REST.share is Share.ORDERS


def test_the_places_of_every_share_leave_connections_to_probes():
    assert sum(share.places for share in Share) <= MOST_CONNECTIONS - 32


def test_a_place_is_given_back_however_the_request_ends():
    places = Places()
    for _ in range(Share.EVENTS.places + 1):
        with pytest.raises(RuntimeError), places.one_of(Share.EVENTS):
            raise RuntimeError
    with places.one_of(Share.EVENTS):
        pass


def test_there_is_no_place_beyond_a_shares_own():
    places = Places()
    held = [places.one_of(Share.EVENTS) for _ in range(Share.EVENTS.places)]
    for place in held:
        place.__enter__()
    with pytest.raises(NoPlace, match="all 16 places for event streams"), places.one_of(Share.EVENTS):
        pass
    with places.one_of(Share.LEASES), places.one_of(None):
        pass
    for place in held:
        place.__exit__(None, None, None)
    with places.one_of(Share.EVENTS):
        pass
