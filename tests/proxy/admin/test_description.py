import pytest

from blueprint_proxy.admin.access import Scope, rule_of

SHOWN = {"$ref": "#/components/schemas/ErrorShown"}


@pytest.fixture
def schema(ask):
    return ask("GET", "/openapi.json").json()


def operations(schema):
    return {(method, path): op for path, item in schema["paths"].items() for method, op in item.items()}


def test_every_operation_says_which_token_opens_it(schema):
    expected = {
        Scope.OPEN: [],
        Scope.JOB: [{"jobToken": []}, {"operatorToken": []}],
        Scope.OPERATOR: [{"operatorToken": []}],
    }
    for (method, path), operation in operations(schema).items():
        assert operation["security"] == expected[rule_of(method.upper(), path).scope], path
    assert {scheme["scheme"] for scheme in schema["components"]["securitySchemes"].values()} == {"bearer"}


def test_every_operation_has_a_name_of_its_own(schema):
    names = [operation["operationId"] for operation in operations(schema).values()]
    assert len(names) == len(set(names))


def test_every_error_has_the_common_shape(schema):
    for operation in operations(schema).values():
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and (operation["operationId"], status) != ("readyz", "503"):
                assert answer["content"]["application/json"]["schema"] == SHOWN
                assert answer["description"]


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/livez", {"200", "403", "421"}),
        ("get", "/v1/addresses", {"200", "401", "403", "421", "503"}),
        ("get", "/v1/secrets/{secret_id}", {"200", "401", "403", "421", "422", "503"}),
        (
            "post",
            "/v1/upstreams/{name}/breaker",
            {"200", "400", "401", "403", "404", "413", "415", "421", "422", "503"},
        ),
        ("post", "/v1/drain", {"202", "400", "401", "403", "413", "415", "421", "422", "503"}),
    ],
)
def test_an_operation_declares_what_the_gate_may_answer_in_its_place(schema, method, path, statuses):
    assert set(operations(schema)[method, path]["responses"]) == statuses


def test_the_frameworks_own_error_shapes_are_gone(schema):
    assert not {"HTTPValidationError", "ValidationError"} & set(schema["components"]["schemas"])
