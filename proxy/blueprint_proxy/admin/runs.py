"""The runs' routes: take a lease, hold it, end it, and, for operators, list them.

Who has a run's id has the run: no job is shown another's. lease_stream.py is what holds a lease.
"""

import asyncio
import json
import socket
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NoReturn

from fastapi import APIRouter, HTTPException, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.types import Scope

from blueprint_proxy.admin.lease_stream import LeaseStream
from blueprint_proxy.admin.state import AddressesShown, ErrorShown
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.runs.lease import Lease, Order
from blueprint_proxy.runs.processes import ForeignProcessError, Unproven, Watched, prove
from blueprint_proxy.runs.registry import RunRefusal, Runs, discard

LONGEST = 31 * 24 * 3600.0
"""Seconds that a run's deadline may be away. More is a mistake of units."""
INPUT_LIMIT = 64 * 1024
"""Bytes of a run's input parameters as JSON. They are kept while the run is shown."""

_Seconds = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
_RunId = Annotated[
    str, Path(max_length=200, description="The lease's id, as it was given: the authority over the run.")
]

_REASONS = {"full": Reason.OVERLOADED, "draining": Reason.DRAINING, "foreign_process": Reason.FORBIDDEN}


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RunOrder(_Said):
    """A job wants a lease. `deadline_s`: seconds from now by which every call of the run ends. `pid`: its process."""

    job_name: str = Field(pattern=r"^[A-Za-z0-9._-]{0,63}[A-Za-z0-9_-]$")
    scene_id: str = Field(pattern=r"^[A-Za-z0-9._-]{0,127}[A-Za-z0-9_-]$")
    bucket: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,222}$")
    deadline_s: _Seconds | None = None
    pid: int | None = Field(default=None, ge=1, le=2**22)
    input_params: dict[str, Any] | None = Field(default=None, repr=False)

    @field_validator("input_params")
    @classmethod
    def _of_a_size(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        if given is not None and len(json.dumps(given)) > INPUT_LIMIT:
            raise ValueError(f"input parameters have at most {INPUT_LIMIT} bytes as JSON")
        return given


class RunOpened(_Said):
    """A lease. `id` is for the job alone. `watched` False: `why` its process is not; the lease must be held then."""

    id: str = Field(repr=False)
    scope: str
    deadline_s: float | None = None
    watched: bool
    why: str | None = None
    addresses: AddressesShown


class RunEnd(_Said):
    """How a run ended. `exit_status` and `signal` are what waitpid gave to whoever started the process."""

    outcome: Literal["success", "failure", "cancelled"]
    exit_status: int | None = Field(default=None, ge=0, le=255)
    signal: int | None = Field(default=None, ge=1, le=64)
    message: str | None = Field(default=None, max_length=4096)


class RunOver(_Said):
    """A run that is over: what ended it, and the outcome that somebody told, or unknown."""

    scope: str
    why: str
    outcome: str


class CallsShown(_Said):
    """A run's calls that have ended, by outcome; tries made at upstreams; bytes of bodies from the job and to it."""

    outcomes: dict[str, int]
    attempts: int
    bytes_in: int
    bytes_out: int


class RunShown(_Said):
    """A run, for operators. `id` is the public name, not the lease's id. `started` is ISO 8601, times are seconds."""

    id: str
    scope: str
    job_name: str
    scene_id: str
    bucket: str | None
    started: str
    age_s: float
    deadline_left_s: float | None
    state: Literal["live", "ended"]
    why: str | None
    outcome: str | None
    exit_status: int | None
    signal: int | None
    watched: bool
    held: bool
    calls: CallsShown


_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": ErrorShown, "description": "No run of this id here"}}


def runs_router(runs: Runs) -> APIRouter:
    """Build the routes around `runs`."""
    router = APIRouter(prefix="/v1/runs", tags=["runs"])

    @router.post(
        "",
        status_code=201,
        responses={
            403: {"model": ErrorShown, "description": "The process is another's, or the token does not open this"},
            409: {"model": ErrorShown, "description": "This scene and job have a live lease"},
            503: {"model": ErrorShown, "description": "The proxy drains, or has no place for more leases"},
        },
    )
    async def start_run(order: RunOrder, request: Request) -> RunOpened:
        """Take a lease for one execution of a job. It must then be held, or the run of an unwatched process ends."""
        asked = Order(order.scene_id, order.job_name, order.bucket, order.deadline_s, order.input_params)
        try:
            runs.admit(asked)
            lease = runs.open(asked, await _process(runs, order.pid, request.scope))
        except RunRefusal as refusal:
            _refuse(refusal)
        host, port = request.scope["server"]
        return RunOpened(
            id=lease.id,
            scope=asked.scope,
            deadline_s=runs.left(lease.run),
            watched=isinstance(lease.process, Watched),
            why=lease.process.why if isinstance(lease.process, Unproven) else None,
            addresses=runs.addresses(lease.id, None if port is None else host),
        )

    @router.get(
        "/{run_id}/lease",
        response_class=Response,
        responses={
            200: {"description": "One JSON object a line", "content": {"application/x-ndjson": {}}},
            **_UNKNOWN,
        },
    )
    async def hold_lease(run_id: _RunId) -> Response:
        """Hold the lease, until the run ends: `held`, then `alive` every 10 s, and `ended` with the reason."""
        return LeaseStream(runs, _known(runs, run_id))

    @router.post("/{run_id}/end", responses=_UNKNOWN)
    async def end_run(run_id: _RunId, told: RunEnd) -> RunOver:
        """End the run. Of one that is over, only an outcome that nobody had told is taken in."""
        lease = _known(runs, run_id)
        ending = runs.end(
            lease,
            "told",
            outcome=told.outcome,
            exit_status=told.exit_status,
            signal=told.signal,
            message=told.message,
        )
        return RunOver(scope=lease.run.scope, why=ending.why, outcome=ending.outcome)

    @router.get("")
    async def list_runs() -> list[RunShown]:
        """Give the live runs, the oldest first, and then the last ones that ended, the latest first."""
        return [_shown(runs, lease) for lease in (*runs.live(), *runs.ended())]

    return router


async def _process(runs: Runs, pid: int | None, scope: Scope) -> Watched | Unproven:
    """What the lease's process is proven to be. RunRefusal for another's."""
    connection = _connection(scope)
    if pid is None:
        return Unproven("the lease names no process")
    if connection is None:
        return Unproven("nothing is known of the connection")
    with connection.dup() as ours:  # the proof is made in a thread, and the connection may close meanwhile
        proving = asyncio.get_running_loop().run_in_executor(None, prove, pid, ours)
        try:
            return await asyncio.shield(proving)
        except ForeignProcessError as foreign:
            runs.refuse_process(str(foreign))
        except asyncio.CancelledError:
            await asyncio.wait([proving])
            if proving.exception() is None:
                discard(proving.result())
            raise


def _connection(scope: Scope) -> socket.socket | None:
    connection: socket.socket | None = scope.get("state", {}).get("connection")
    return connection


def _known(runs: Runs, run_id: str) -> Lease:
    lease = runs.lease(run_id)
    if lease is None:
        raise HTTPException(404, "no run of this id here: it ended long ago, or this proxy has been started anew since")
    return lease


def _refuse(refusal: RunRefusal) -> NoReturn:
    if refusal.why == "conflict":
        raise HTTPException(409, str(refusal)) from None
    raise Refusal(_REASONS[refusal.why], str(refusal)) from None


def _shown(runs: Runs, lease: Lease) -> RunShown:
    order, run, ending = lease.order, lease.run, lease.ending
    return RunShown(
        id=run.name,
        scope=run.scope,
        job_name=order.job_name,
        scene_id=order.scene_id,
        bucket=order.bucket,
        started=datetime.fromtimestamp(lease.since, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        age_s=runs.age(lease),
        deadline_left_s=runs.left(run),
        state="live" if ending is None else "ended",
        why=None if ending is None else ending.why,
        outcome=None if ending is None else ending.outcome,
        exit_status=None if ending is None else ending.exit_status,
        signal=None if ending is None else ending.signal,
        watched=isinstance(lease.process, Watched),
        held=bool(lease.connections),
        calls=CallsShown(
            outcomes=dict(run.tally.outcomes),
            attempts=run.tally.attempts,
            bytes_in=run.tally.bytes_in,
            bytes_out=run.tally.bytes_out,
        ),
    )
