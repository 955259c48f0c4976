from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from blueprint_clients.errors import GenieSimAPIError
from blueprint_clients.external_services import simulator_routes
from blueprint_clients.external_services.simulator_routes import route_to
from blueprint_clients.genie_sim import errors
from blueprint_clients.genie_sim.messages import load
from blueprint_clients.genie_sim.ways import Asking
from support.sidecar import ADDRESSES, Said, ScriptedSidecar

if TYPE_CHECKING:
    from support.rpc_sidecar import RpcSidecar


def ask(upstream: str | None = None) -> Any:
    known = load().methods["reset"]
    route = route_to(upstream, "reset")
    route.ask(Asking("reset", known.path, known.request(), time.monotonic() + 10.0))
    return route


def test_the_sidecars_listener_is_asked_with_upstream_run_and_token(
    guarded_sim: RpcSidecar, job: pytest.MonkeyPatch
) -> None:
    job.setenv("BLUEPRINT_RUN", "the-run")
    job.setenv("BLUEPRINT_PROXY_TOKEN", "hush")
    route = ask()
    assert (route.way, route.upstream) == ("through", "geniesim")
    metadata = guarded_sim.asked[0].metadata
    assert metadata["x-blueprint-upstream"] == "geniesim"
    assert metadata["x-blueprint-run"] == "the-run"
    assert metadata["x-blueprint-token"] == "hush"


def test_without_a_run_or_token_neither_is_said(guarded_sim: RpcSidecar) -> None:
    ask()
    assert not {"x-blueprint-run", "x-blueprint-token"} & set(guarded_sim.asked[0].metadata)


def test_without_a_sidecar_the_simulator_itself_is_asked_and_that_is_said_once(
    bare_sim: RpcSidecar, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask()[:2] == ("unguarded", None)
    ask()
    assert not any(key.startswith("x-blueprint") for one in bare_sim.asked for key in one.metadata)
    assert sum("unguarded" in record.message for record in caplog.records) == 1


def test_off_is_straight_too(bare_sim: RpcSidecar, job: pytest.MonkeyPatch) -> None:
    job.setenv("BLUEPRINT_PROXY", "off")
    assert ask().way == "unguarded"


def test_where_no_address_is_said_it_is_the_simulators_own_port() -> None:
    route = route_to(None, "reset")
    assert route.ask.args[0].target == "localhost:50051"  # type: ignore[attr-defined]  # a partial


def test_a_sidecar_without_such_a_simulator_says_so(guarded_sim: RpcSidecar) -> None:
    with pytest.raises(errors.NoSuchUpstream, match="other") as caught:
        route_to("other", "reset")
    assert caught.value.method == "reset"


def test_a_sidecar_without_grpc_says_what_to_do(scripted: ScriptedSidecar) -> None:
    with pytest.raises(GenieSimAPIError, match="connect to the simulator itself"):
        route_to(None, "reset")


def test_a_wrong_token_is_said_as_a_genie_sim_error(scripted: ScriptedSidecar) -> None:
    body = {"error": {"code": 401, "reason": "unauthenticated", "message": "no"}}
    scripted.script("GET", "/v1/addresses", Said(401, body, {"x-blueprint-error": "unauthenticated"}))
    with pytest.raises(errors.Unauthenticated):
        route_to(None, "reset")


def test_a_job_that_has_gone_through_does_not_go_around_a_sidecar_that_is_away(
    guarded_sim: RpcSidecar, scripted: ScriptedSidecar, job: pytest.MonkeyPatch
) -> None:
    ask()
    job.setattr(simulator_routes, "through", _gone)
    with pytest.raises(errors.SidecarGone):
        ask()
    scripted.script("GET", "/v1/addresses", Said(200, raw=b"", close=True))
    with pytest.raises(errors.SidecarGone):
        ask()
    scripted.script("GET", "/v1/addresses", Said(200, {**ADDRESSES, "grpc": None}))
    with pytest.raises(GenieSimAPIError, match="does not serve gRPC"):
        ask()


def _gone(*_: object) -> None:
    raise errors.SidecarGone("away")
