import pytest

from blueprint_proxy.admin.state import BreakerOrder, ConnectionsShown, UpstreamShown


def shown(url):
    connections = ConnectionsShown(idle=0, active=0)
    return UpstreamShown(
        name="x", kind="http", url=url, mode="enforce", breakers=[], in_flight=0, queued=0, connections=connections
    )


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://user:hunter2@host/base", "https://host/base"),
        ("https://hunter2@host", "https://host"),
        ("https://host/base?key=hunter2#hunter2", "https://host/base"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("grpc://[::1]:50051", "grpc://[::1]:50051"),
    ],
)
def test_a_shown_url_has_no_place_for_a_credential(url, safe):
    assert shown(url).url == safe


def test_an_order_without_an_owner_is_for_the_whole_upstream():
    assert BreakerOrder.model_validate({"action": "disable"}).owner is None
