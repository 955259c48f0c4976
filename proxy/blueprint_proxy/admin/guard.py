"""The guard's two routes: a permit to run a function, and how the function ended.

A waiting request belongs to a waiting function: when its connection goes, the function gives its place up.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal, get_type_hints

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Receive

from blueprint_proxy.admin.gate import error_body
from blueprint_proxy.admin.state import ErrorShown
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.guard.function import Ended, Function, HandedOut, Told
from blueprint_proxy.guard.permits import Asked, Guard, UnknownPermit
from blueprint_proxy.inbound.answers import answer
from blueprint_proxy.telemetry.tracing import parse

_AS_IT_CAME = frozenset({Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TRUNCATED})
"""What a failure without a status is called that was not given up: the job knows its own failure better."""
_JSON = (b"content-type", b"application/json")
_NOBODY_WAITS = Refusal(Reason.OVERLOADED, "nobody waited for this permit any more", sent=False)

_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PermitOrder(_Said):
    """What a job wants to run. `operation` is its own name for it; `repeatable`: the function may be run twice."""

    operation: str = Field(pattern=r"^[ -~]{1,64}$")
    timeout_s: Annotated[_Seconds, Field(gt=0, le=604_800)] | None = None
    run: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._~-]{1,200}$")
    repeatable: bool | None = None


class Settlement(_Said):
    """How the function ended. `rejected`: the caller's own fault; `unknown`: it was left without an answer."""

    outcome: Literal["success", "failure", "throttled", "rejected", "unknown"]
    status: int | None = Field(default=None, ge=100, le=599)
    retry_after_s: Annotated[_Seconds, Field(ge=0)] | None = None
    sent: bool | None = None
    message: str | None = Field(default=None, max_length=4096)


class PermitShown(_Said):
    """Leave to run the function once. Settle it, or it expires and counts as a hang."""

    permit: str
    attempt: int
    expires_in_s: float
    deadline_in_s: float | None = None


class SettledShown(_Said):
    """Whether to run the function again: then with a permit; else, where it was given up, with the `reason`."""

    again: bool
    permit: str | None = None
    attempt: int | None = None
    expires_in_s: float | None = None
    deadline_in_s: float | None = None
    reason: str | None = None
    message: str | None = None
    retry_after_s: float | None = None


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorShown, "description": f"Refused as a call would be: {reasons}, in x-blueprint-error"}
    for status, reasons in {
        403: "forbidden",
        404: "unknown_upstream",
        429: "rate_limited",
        503: "breaker_open, overloaded or draining",
        504: "deadline_exceeded",
    }.items()
}


class _LeanRoute(APIRoute):
    """A route whose body is read by its model at once.

    FastAPI's own way from a request to parameters and back costs each of a function's two requests 100 us, five times
    what the guard itself does. The endpoint still says all of it to OpenAPI: its first parameter is the body's model.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint, model = self.endpoint, next(iter(get_type_hints(self.endpoint).values()))

        async def serve(request: Request) -> Response:
            try:
                said = model.model_validate_json(await request.body())
            except ValidationError as error:
                raise RequestValidationError(
                    [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
                ) from None
            response: Response = await endpoint(said, request=request, **request.path_params)
            return response

        return serve


def guard_router(guard: Guard) -> APIRouter:
    """Build the routes around `guard`."""
    router = APIRouter(prefix="/v1/guard", tags=["guard"], route_class=_LeanRoute)

    @router.post("/{name}", response_model=PermitShown, response_model_exclude_none=True, responses=_REFUSALS)
    async def permit(order: PermitOrder, name: str, request: Request) -> Response:
        """Give leave to run a function, once its turn has come, or refuse as a call would be refused."""
        request_id = guard.request_id(request.headers.get("x-request-id"))
        joined = request.headers.get("traceparent")
        trace = None if joined is None else parse(joined.encode("latin-1"))
        asked = Asked(order.operation, request_id, order.timeout_s, order.run, order.repeatable, trace)
        try:
            turn = await _turn(guard.ask(name, asked), request.receive)
        except Refusal as refusal:
            return _refused(refusal, name, request_id)
        if isinstance(turn, Ended):
            return _refused(turn.refusal or _NOBODY_WAITS, name, request_id)
        return _answer(200, json.dumps(_handed(turn)).encode(), (b"x-request-id", request_id.encode("ascii")), _JSON)

    @router.post(
        "/{name}/{permit}",
        response_model=SettledShown,
        response_model_exclude_none=True,
        responses={410: {"model": ErrorShown, "description": "The permit was settled, expired, or never was"}},
    )
    async def settle(told: Settlement, name: str, permit: str, request: Request) -> Response:
        """Take in how the function ended. Answers when that is all, or when it is time to run it again."""
        outcome = Told(told.outcome, told.status, told.retry_after_s, told.sent, told.message or "")
        try:
            turn = await _turn(guard.settle(name, permit, outcome), request.receive)
        except UnknownPermit as unknown:
            return _answer(410, json.dumps(error_body(410, str(unknown))).encode(), _JSON)
        shown = {"again": True, **_handed(turn)} if isinstance(turn, HandedOut) else _ended(turn)
        return _answer(200, json.dumps(shown).encode(), _JSON)

    return router


async def _turn(function: Function, receive: Receive) -> HandedOut | Ended:
    """The function's turn. A job that hangs up while it waits gives its place to others."""
    for _ in range(2):  # nearly every turn has come by then, and its request needs nobody who watches it
        await asyncio.sleep(0)
    if function.has_turn:
        return await function.turn()
    watch = asyncio.get_running_loop().create_task(_cancel_when_gone(function, receive))
    try:
        return await function.turn()
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def _cancel_when_gone(function: Function, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    function.cancel(None)


def _handed(turn: HandedOut) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "permit": turn.permit,
        "attempt": turn.attempt,
        "expires_in_s": round(turn.expires_in, 3),
    }
    if turn.deadline_in is not None:
        shown["deadline_in_s"] = round(turn.deadline_in, 3)
    return shown


def _ended(turn: Ended) -> dict[str, Any]:
    """The end, with the contract's reason where this proxy gave up what could have been repeated."""
    shown: dict[str, Any] = {"again": False}
    retry_after = None
    if turn.reply is not None and turn.reply.error is not None:
        shown["reason"] = turn.reply.error
        retry_after = turn.reply.retry_after
    elif turn.refusal is not None and (turn.refusal.final or turn.refusal.reason not in _AS_IT_CAME):
        shown["reason"] = turn.refusal.reason.value
        shown["message"] = turn.refusal.message
        retry_after = turn.refusal.retry_after
    if retry_after is not None:
        shown["retry_after_s"] = round(retry_after, 3)
    return shown


def _refused(refusal: Refusal, name: str, request_id: str) -> Response:
    """The refusal as the data plane would answer it."""
    known = "" if refusal.reason is Reason.UNKNOWN_UPSTREAM else name
    status, _, fields, body = answer(refusal, upstream=known, request_id=request_id)
    return _answer(status, body, *((field.lower(), value) for field, value in fields))


def _answer(status: int, body: bytes, *fields: tuple[bytes, bytes]) -> Response:
    response = Response(status_code=status)
    response.body = body
    response.raw_headers = [*fields, (b"content-length", b"%d" % len(body))]
    return response
