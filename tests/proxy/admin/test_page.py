from blueprint_proxy.admin.page import page

ORDER = {"$ref": "#/components/schemas/Order"}


def a_schema(**operation):
    return {
        "info": {"title": "A proxy", "version": "1.2"},
        "paths": {
            "/v1/x/{name}": {
                "post": {
                    "operationId": "order_x",
                    "description": "Order x.",
                    "security": [{"operatorToken": []}],
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}
                    },
                    "responses": {"200": {"description": "Done"}, "404": {"description": "No such x"}},
                    **operation,
                }
            }
        },
        "components": {"schemas": {"Order": {"type": "object", "properties": {"action": {"enum": ["go"]}}}}},
    }


def test_an_operation_is_shown_with_its_scope_its_words_and_its_answers():
    made = page(a_schema())
    for part in ("POST /v1/x/{name}", "operator scope", "Order x.", "<td>404<td>No such x", "A proxy 1.2"):
        assert part in made


def test_the_command_that_asks_is_shown():
    assert "curl -X POST -H &quot;Authorization: Bearer $TOKEN&quot;" in page(a_schema())
    assert "<pre>curl -X POST -H &#x27;Content-Type" in page(a_schema(security=[]))


def test_a_body_is_shown_with_its_references_put_in_place():
    assert "&quot;enum&quot;" in page(a_schema())
    assert "$ref" not in page(a_schema())


def test_a_model_that_holds_itself_comes_to_an_end():
    schema = a_schema()
    schema["components"]["schemas"]["Order"]["properties"]["next"] = ORDER
    assert "#/components/schemas/Order" in page(schema)


def test_nothing_in_the_schema_becomes_markup():
    made = page(a_schema(description="<script>alert(1)</script>", operationId="'><img src=x>"))
    assert "<script" not in made
    assert "<img" not in made
