"""The live side of a run."""

from __future__ import annotations

import asyncio

from blueprint_proxy.runs.lease import Lease, Order
from blueprint_proxy.runs.processes import Unproven
from blueprint_proxy.runs.run import Run
from support.virtual_time import virtual_time

LEASE = "00112233445566778899aabbccddeeff"
ORDER = Order("scene", "job", input_params={"key": "hunter2"})


def a_lease():
    return Lease(LEASE, ORDER, Run(ORDER.scope, LEASE), Unproven("a test"), started=1.0, since=2.0)


def test_a_scope_is_what_reruns_share():
    assert ORDER.scope == "scene~job"


def test_a_repr_shows_neither_the_id_nor_the_jobs_parameters():
    shown = repr(a_lease())
    assert "scene~job#00112233" in shown
    assert LEASE not in shown
    assert "hunter2" not in shown


@virtual_time
async def test_a_disarmed_lease_is_not_ended_by_time():
    lease, rung = a_lease(), []
    lease.alarm = asyncio.get_running_loop().call_later(1.0, rung.append, 1)
    lease.disarm()
    lease.disarm()
    await asyncio.sleep(2.0)
    assert rung == []
