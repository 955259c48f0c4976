"""The admin and job API: one application put together from its routes. gate.py says who may ask.

FastAPI costs about 20 MiB and a third of a second, so import this only once the data listeners are open.
"""

import math
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match

from blueprint_proxy import __version__
from blueprint_proxy.admin.access import Scope, rule_of
from blueprint_proxy.admin.description import describe
from blueprint_proxy.admin.gate import Gate, error_body
from blueprint_proxy.admin.guard import guard_router
from blueprint_proxy.admin.page import HEADERS, page
from blueprint_proxy.admin.routes import health_routes, job_routes, operator_routes
from blueprint_proxy.admin.runs import runs_router
from blueprint_proxy.admin.state import AdminState
from blueprint_proxy.errors import Refusal
from blueprint_proxy.guard.permits import Guard
from blueprint_proxy.runs.registry import Runs

if TYPE_CHECKING:
    from fastapi.routing import APIRoute


def create_app(state: AdminState, *, runs: Runs, guard: Guard) -> FastAPI:
    """Build the application around `state`, which it asks anew on each request, `runs` and `guard`."""
    app = FastAPI(
        title="Blueprint Proxy",
        version=__version__,
        docs_url=None,  # FastAPI's page loads its script from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a path is for whom access.py says; a redirect would lead to another one
        generate_unique_id_function=_operation_id,
        # FastAPI's own OpenTelemetry acts on environment variables, and config.py alone reads those
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(Gate, state=state)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(Refusal, _own_word)
    for router in (
        guard_router(guard),  # first: routes are tried in order, and every guarded function asks twice
        health_routes(state),
        job_routes(state),
        runs_router(runs),
        operator_routes(state),
    ):
        app.include_router(router)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            app.openapi_schema = describe(made)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to a schema of one's own

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers=HEADERS)

    return app


def _operation_id(route: "APIRoute") -> str:
    return route.name


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 -- by registration; the type is FastAPI's
    headers = {"allow": ", ".join(_allowed(request))} if error.status_code == 405 else error.headers
    return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, headers)


def _allowed(request: Request) -> list[str]:
    """The methods that the request's path has. Starlette names those of the first route alone, of several."""
    found = [
        method
        for method in ("GET", "POST")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return ["GET", "HEAD"] if rule_of("GET", request.url.path).scope is Scope.OPEN else found


async def _misunderstood(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- by registration; the type is FastAPI's
    problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
    return JSONResponse(error_body(422, "; ".join(problems)), 422)


async def _own_word(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)  # noqa: S101 -- by registration; the type is FastAPI's
    wait = error.retry_after
    headers = None if wait is None else {"retry-after": str(math.ceil(wait))}
    return JSONResponse(error_body(error.status, error.message, error.reason.value), error.status, headers)
