import http.client
import json

import pytest

from blueprint_proxy.demo.faults import Fault, fault_to_json
from blueprint_proxy.demo.hosting import threaded
from blueprint_proxy.demo.stand_in import FAULTS, REPORT, StandIn
from blueprint_proxy.demo.wire import Response, json_response

KEY = "a-key-nobody-may-see"


class Echo(StandIn):
    async def answer(self, request):
        return Response(200, (("Content-Type", "text/plain"),), request.body or b"0123456789")

    def failure(self, status, message, *, retry_delay=None):
        return json_response({"message": message, "retry_delay": retry_delay}, status)


def ask(stand_in, method="GET", target="/x", body=None, **headers):
    connection = http.client.HTTPConnection(stand_in.address, timeout=5)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, fields)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_request_for_another_host_is_refused_and_not_an_attempt():
    with threaded(Echo()) as upstream:
        status, body = ask(upstream, Host="storage.example.com")

        assert status == 421
        assert "storage.example.com" in json.loads(body)["error"]["message"]
        assert (upstream.report()["requests"], upstream.report()["attempts"]) == (1, 0)


def test_a_request_that_went_around_the_proxy_is_refused_where_asked_for():
    with threaded(Echo(only_through_proxy=True)) as upstream:
        assert ask(upstream)[0] == 403
        assert ask(upstream, Via="1.1 blueprint")[0] == 200


def test_a_status_is_answered_without_doing_the_work():
    with threaded(Echo(faults=[Fault("status", status=503)])) as upstream:
        assert ask(upstream)[0] == 503
        assert not upstream.exchanges[0].executed


def test_a_reset_reaches_the_caller_as_one():
    with threaded(Echo(faults=[Fault("reset")])) as upstream, pytest.raises(ConnectionResetError) as reset:
        ask(upstream)

    assert reset.type is ConnectionResetError  # a mere close would be a RemoteDisconnected, its subclass


def test_a_reset_may_hide_that_the_work_was_done():
    with threaded(Echo(faults=[Fault("reset", executed=True)])) as upstream:
        with pytest.raises(ConnectionResetError):
            ask(upstream)

        assert upstream.exchanges[0].executed


def test_a_cut_body_is_declared_whole():
    with threaded(Echo(faults=[Fault("cut", after=4)])) as upstream:
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(upstream)

        assert (cut.value.partial, cut.value.expected) == (b"0123", 6)


def test_a_stall_ends_with_the_answer():
    with threaded(Echo(faults=[Fault("stall", seconds=0.01)])) as upstream:
        assert ask(upstream) == (200, b"0123456789")


def test_a_chunked_body_arrives_whole():
    with threaded(Echo()) as upstream:
        assert ask(upstream, "POST", body=iter([b"one ", b"two"])) == (200, b"one two")


def test_the_report_names_what_a_key_was_and_never_the_key():
    with threaded(Echo(key=KEY)) as upstream:
        ask(upstream, X_Goog_Api_Key=KEY)
        ask(upstream, X_Goog_Api_Key="dummy")
        ask(upstream)
        status, body = ask(upstream, target=REPORT, Host="anything")

        assert status == 200
        assert [exchange["key"] for exchange in json.loads(body)["exchanges"]] == ["expected", "other", "none"]
        assert KEY not in body.decode()
        assert KEY not in repr(upstream.exchanges)


def test_a_new_script_can_be_sent_while_it_runs():
    with threaded(Echo()) as upstream:
        ask(upstream, "POST", FAULTS, json.dumps([fault_to_json(Fault("status", status=500))]))

        assert ask(upstream)[0] == 500


def test_what_is_not_http_breaks_the_connection_only():
    with threaded(Echo()) as upstream:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(upstream, "GET / extra")
        assert ask(upstream)[0] == 200
