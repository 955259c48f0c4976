"""The OpenAPI page is true: schemathesis asks every operation of the real process, with what fits and what does not.

The order of its examples is fixed, so that a run that passes passes again. Left out are the operations that stream
without an end (their tests are in test_listening_in.py and tests/proxy/admin/) and the order to drain, which would end
the process that is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import JOBS, OPERATORS, TOKENS, UPSTREAMS

if TYPE_CHECKING:
    from support.proxy import StartProxy

STREAMS = {"/v1/events", "/v1/runs/{run_id}/lease"}
ENDS_THE_PROCESS = {"/v1/drain"}

EXAMPLES = 15
"""Of each sort for each operation: the whole takes some seconds."""

ALWAYS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]


@pytest.fixture
def schema(proxy: StartProxy):
    # permits that nobody settles are calls in flight: the end need not wait for them
    running = proxy({"upstreams": UPSTREAMS, "drain": {"grace": "100ms"}}, TOKENS)
    host, port = running.admin
    url = f"http://{host}:{port}/openapi.json"
    return schemathesis.openapi.from_url(url, headers={"authorization": f"Bearer {OPERATORS}"})


def operations(schema):
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path not in STREAMS | ENDS_THE_PROCESS]


@pytest.fixture
def ask_all(schema):
    """Asks each operation with examples of one sort. Gives the statuses seen, by operation.

    `known`: the operations with a {name} get the name of an upstream that there is.
    """

    def asking(mode, *checks, token=OPERATORS, known=False):
        return {
            f"{operation.method.upper()} {operation.path}": ask_one(
                operation, mode, [*ALWAYS, *checks], token, known=known
            )
            for operation in operations(schema)
            if not known or "{name}" in operation.path
        }

    return asking


def ask_one(operation, mode, checks, token, *, known):
    statuses = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case):
        if known:
            case.path_parameters["name"] = "it"
        answer = case.call(headers={"authorization": f"Bearer {token}"}, timeout=30)
        case.validate_response(answer, checks=checks)
        statuses.add(answer.status_code)

    try:
        asked()
    except Unsatisfiable:  # nothing can be wrong with a request that takes nothing
        assert mode is GenerationMode.NEGATIVE
    return statuses


def test_what_fits_the_page_is_answered_as_the_page_says(ask_all):
    seen = ask_all(GenerationMode.POSITIVE, not_a_server_error)
    assert len(seen) == 13
    for operation in ("GET /v1/addresses", "GET /v1/upstreams", "GET /v1/config", "GET /v1/runs", "GET /metrics"):
        assert seen[operation] == {200}
    assert 201 in seen["POST /v1/runs"]


def test_what_fits_an_upstream_that_there_is_is_answered_as_the_page_says(ask_all):
    seen = ask_all(GenerationMode.POSITIVE, known=True)
    assert 200 in seen["POST /v1/upstreams/{name}/breaker"]
    assert {200, 503} & seen["POST /v1/guard/{name}"]


def test_what_does_not_fit_the_page_is_refused_as_the_page_says(ask_all):
    seen = ask_all(GenerationMode.NEGATIVE, not_a_server_error, negative_data_rejection)
    for operation in ("POST /v1/runs", "POST /v1/guard/{name}", "POST /v1/upstreams/{name}/breaker"):
        assert 422 in seen[operation]


@pytest.mark.parametrize("token", [JOBS, "no-such-token"])
def test_what_the_page_protects_is_closed_to_who_has_not_its_token(ask_all, schema, token):
    seen = ask_all(GenerationMode.POSITIVE, token=token)
    for operation in operations(schema):
        schemes = {name for either in operation.definition.raw["security"] for name in either}
        statuses = seen[f"{operation.method.upper()} {operation.path}"]
        if token == JOBS and schemes == {"operatorToken"}:
            assert statuses == {403}
        elif token != JOBS and schemes:
            assert statuses == {401}
        else:
            assert not statuses & {401}
