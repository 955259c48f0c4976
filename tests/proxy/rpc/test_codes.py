"""gRPC's codes and their HTTP equivalents."""

import grpc

from blueprint_proxy.errors import STATUSES
from blueprint_proxy.rpc.codes import HTTP, Code


def test_the_codes_are_those_of_the_library():
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_every_code_has_an_http_status_and_only_ok_is_a_success():
    assert set(HTTP) == set(Code)
    assert [code for code, status in HTTP.items() if status < 400] == [Code.OK]


def test_every_refusal_of_the_contract_has_a_code():
    assert {name for _, name in STATUSES.values()} <= {code.name for code in Code}
