"""What the OpenAPI page says beyond the routes themselves: who may ask, and what the gate answers to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprint_proxy.admin.access import Scope, rule_of
from blueprint_proxy.admin.state import ErrorShown

if TYPE_CHECKING:
    from blueprint_proxy.admin.access import Rule

SECURITY_SCHEMES = {
    "jobToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The jobs' token (jobs.token). Without one configured, open on loopback and unix sockets only.",
    },
    "operatorToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The operators' token (admin.token). It opens what the job token opens, too. "
        "Without either configured, open on loopback and unix sockets only.",
    },
}

_SECURITY: dict[Scope, list[dict[str, list[str]]]] = {
    Scope.OPEN: [],
    Scope.JOB: [{"jobToken": []}, {"operatorToken": []}],
    Scope.OPERATOR: [{"operatorToken": []}],
}

_REF = "#/components/schemas/"
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """Complete what FastAPI makes of the routes: security and the errors that no route declares. Changes `schema`."""
    components = schema.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    models = components.setdefault("schemas", {})
    for name in _OF_FASTAPI:  # what misunderstood requests get has this API's one shape
        models.pop(name, None)
    error = ErrorShown.model_json_schema(ref_template=_REF + "{model}")
    models.update(error.pop("$defs"))
    models["ErrorShown"] = error
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            rule = rule_of(method.upper(), path)
            operation["security"] = _SECURITY[rule.scope]
            responses = operation["responses"]
            understood = responses.pop("422", None) is None and "requestBody" not in operation
            for status, meaning in _errors(rule, has_body=method == "post", understood=understood).items():
                responses.setdefault(str(status), _shown(meaning))
            operation["responses"] = dict(sorted(responses.items()))
    return schema


def _errors(rule: Rule, *, has_body: bool, understood: bool) -> dict[int, str]:
    found = {
        403: "A web page of another origin, another user's process, or a token that does not open this",
        421: "Not a Host by which this listener is known",
    }
    if rule.scope is not Scope.OPEN:
        found[401] = "No token, or not the right one"
    if rule.share is not None:
        found[503] = f"All {rule.share.places} places for {rule.share.what} are taken"
    if has_body:
        found |= {
            400: "The body is not text in UTF-8",
            413: "The body is too long",
            415: "The body is not application/json",
        }
    if not understood:
        found[422] = "The request makes no sense; the message says where"
    return found


def _shown(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": {"$ref": f"{_REF}ErrorShown"}}}}
