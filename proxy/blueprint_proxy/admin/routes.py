"""The routes for probes, for any job, and for operators; those of runs and guarded functions are in files of their own.

Each gives models of state.py, which the OpenAPI page is made from; errors that the gate gives are added there.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from blueprint_proxy.admin.state import (
    AddressesShown,
    AdminState,
    Alive,
    BreakerOrder,
    DrainOrder,
    DrainShown,
    ErrorShown,
    Ready,
    SecretShown,
    UpstreamShown,
)

UpstreamName = Annotated[str, Path(max_length=64, description="The upstream, as configured.")]
SecretId = Annotated[str, Path(max_length=255, description="The secret's id, one of jobs.secrets.")]


def health_routes(state: AdminState) -> APIRouter:
    """Give /livez, /readyz and /metrics."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> Alive:
        """Say that the event loop turns."""
        return Alive(alive=True)

    @router.get("/readyz", response_model=Ready, responses={503: {"model": Ready, "description": "Not now"}})
    async def readyz() -> JSONResponse:
        """Give 200 while jobs may call (the listeners are up, and the proxy is not draining), else 503."""
        ready = state.ready()
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {
                "description": "Every metric",
                "content": {
                    "text/plain": {"schema": {"type": "string"}},
                    "application/openmetrics-text": {"schema": {"type": "string"}},
                },
            }
        },
    )
    async def metrics(request: Request) -> Response:
        """Give Prometheus text, or OpenMetrics when Accept asks for it."""
        page = state.metrics(request.headers.get("accept", ""))
        return Response(await asyncio.to_thread(page.render), headers={"content-type": page.content_type})

    return router


def job_routes(state: AdminState) -> APIRouter:
    """Give what any job may ask: addresses, and the secrets that jobs may read."""
    router = APIRouter()

    @router.get("/v1/addresses")
    async def addresses(request: Request) -> AddressesShown:
        """Give the addresses that stock SDKs are pointed at, one an upstream."""
        host, port = request.scope["server"]
        return state.addresses(reached=None if port is None else host)

    @router.get(
        "/v1/secrets/{secret_id}",
        responses={
            403: {"model": ErrorShown, "description": "Not one of jobs.secrets, or found nowhere"},
            503: {"model": ErrorShown, "description": "Not loaded yet, or no place is free"},
        },
    )
    async def secret(secret_id: SecretId) -> SecretShown:
        """Give a secret that the configuration lets jobs read (jobs.secrets). Each time is told as an event."""
        return await state.secret(secret_id)

    return router


def operator_routes(state: AdminState) -> APIRouter:
    """Give what operators see and order."""
    router = APIRouter()

    @router.get("/v1/upstreams")
    async def upstreams() -> list[UpstreamShown]:
        """Give every upstream with its breakers and what is under way."""
        return state.upstreams()

    @router.post(
        "/v1/upstreams/{name}/breaker",
        responses={404: {"model": ErrorShown, "description": "No such upstream, or no such breaker of it"}},
    )
    async def breaker(name: UpstreamName, order: BreakerOrder) -> UpstreamShown:
        """Reset, force open or disable the upstream's breakers, or one of them. Gives the upstream as it is then."""
        try:
            state.breaker_action(name, order.owner, order.action)
        except LookupError:
            raise HTTPException(404, f"no upstream {name!r} with such a breaker") from None
        return next(shown for shown in state.upstreams() if shown.name == name)

    @router.get("/v1/config")
    async def config() -> dict[str, Any]:
        """Give the configuration in force: secrets by their places, never their values."""
        return state.config()

    @router.get(
        "/v1/events",
        response_class=StreamingResponse,
        responses={200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}},
    )
    async def events() -> StreamingResponse:
        """Tell what happens as it happens, as server-sent events, until the proxy ends.

        Each is one of the log's events, with `at` in seconds since 1970. Who reads too slowly is told by `dropped`,
        with a count, what is missing.
        """
        return StreamingResponse(state.events.listen(), media_type="text/event-stream")

    @router.post("/v1/drain", status_code=202)
    async def drain(_order: DrainOrder, after: BackgroundTasks) -> DrainShown:
        """End as SIGTERM does: no new calls, time for those under way, then exit. A second order changes nothing."""
        after.add_task(state.drain)
        return DrainShown(draining=True, grace_s=state.grace())

    return router
