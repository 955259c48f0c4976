"""A check of the simulator by a TCP connect goes to the proxy now, and says the same."""

import socket
import time

import pytest

from support.genie_sim.client import object_pose

pytestmark = pytest.mark.end_to_end


def accepts(address):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 2.0):
            return True
    except OSError:
        return False


def until(holds, limit=15.0):
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_listener_accepts_only_while_the_simulators_port_does(scene):
    it = scene(keys={"endpoint_check": None}, init=False)
    until(lambda: accepts(it.address))
    it.init()
    assert it.job.ask(object_pose(1)).kind == "right"
    it.sim.kill()
    until(lambda: not accepts(it.address))
    assert it.job.ask(object_pose(1), 5.0).kind == "UNAVAILABLE"
    it.sim.restart()
    until(lambda: accepts(it.address))
    assert it.caller().ask(object_pose(1)).kind == "FAILED_PRECONDITION"


def test_the_listener_of_several_upstreams_stays_open(scene):
    it = scene(keys={"endpoint_check": None}, init=False)
    it.proxy.write_config(
        {"upstreams": {**it.proxy.config["upstreams"], "other": {"kind": "grpc", "url": "grpc://127.0.0.1:1"}}}
    )
    until(lambda: b'"other"' in it.proxy.get_admin("/v1/upstreams")[1])
    it.sim.kill()
    it.until(lambda seen: seen["phase"] == "down")
    until(lambda: accepts(it.address))
