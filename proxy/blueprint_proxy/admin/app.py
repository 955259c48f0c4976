"""The admin application: health, metrics, upstreams, configuration, breakers. gate.py says who may ask.

FastAPI costs about 20 MiB and a third of a second, so import this only once the data listeners are open.
"""

import asyncio
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from blueprint_proxy import __version__
from blueprint_proxy.admin.gate import Gate, error_body
from blueprint_proxy.admin.state import AdminState, BreakerOrder, UpstreamShown


def create_app(state: AdminState) -> FastAPI:
    """Build the application around `state`, which it asks anew on each request."""
    app = FastAPI(
        title="Blueprint Proxy",
        version=__version__,
        redoc_url=None,
        # FastAPI's own OpenTelemetry acts on environment variables, and config.py alone reads those
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(Gate, state=state)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def misunderstood(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        return JSONResponse(error_body(422, "; ".join(problems)), 422)

    @app.get("/livez")
    async def livez() -> dict[str, bool]:
        """Say that the event loop turns."""
        return {"alive": True}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Give 200 while jobs may call (the listeners are up, and the proxy is not draining), else 503."""
        ready = state.ready()
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Give Prometheus text, or OpenMetrics when Accept asks for it."""
        page = state.metrics(request.headers.get("accept", ""))
        return Response(await asyncio.to_thread(page.render), headers={"content-type": page.content_type})

    @app.get("/v1/upstreams")
    async def upstreams() -> list[UpstreamShown]:
        """Give every upstream with its breakers and what is under way."""
        return state.upstreams()

    @app.post("/v1/upstreams/{name}/breaker")
    async def breaker(name: str, order: BreakerOrder) -> UpstreamShown:
        """Reset, force open or disable the upstream's breakers, or one of them. Gives the upstream as it is then."""
        try:
            state.breaker_action(name, order.owner, order.action)
        except LookupError:
            raise HTTPException(404, f"no upstream {name!r} with such a breaker") from None
        return next(shown for shown in state.upstreams() if shown.name == name)

    @app.get("/v1/config")
    async def config() -> dict[str, Any]:
        """Give the configuration in force, without secrets."""
        return state.config()

    return app
