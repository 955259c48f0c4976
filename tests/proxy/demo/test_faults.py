import json

import pytest

from blueprint_proxy.demo.faults import Fault, FaultScript, fault_to_json, faults_from_json


def taken(script, count, line=("GET", "/a")):
    return [fault.kind if (fault := script.take(*line)) else "pass" for _ in range(count)]


def test_a_script_reads_from_top_to_bottom():
    script = FaultScript([Fault("status", skip=1, times=2), Fault("reset", skip=1)])

    assert taken(script, 7) == ["pass", "status", "status", "pass", "reset", "pass", "pass"]


def test_a_request_that_matches_no_pattern_passes_and_uses_nothing_up():
    script = FaultScript([Fault("stall", on="POST *:generateContent", skip=1)])

    assert taken(script, 3, ("GET", "/v1/models")) == ["pass"] * 3
    assert taken(script, 2, ("POST", "/v1/models/x:generateContent")) == ["pass", "stall"]


def test_faults_of_different_patterns_act_independently():
    script = FaultScript([Fault("reset", on="PUT *", skip=5), Fault("cut", on="GET *")])

    assert taken(script, 1) == ["cut"]


def test_what_is_left_counts_down_with_every_fault_that_acts():
    script = FaultScript([Fault("status", times=2)])
    script.take("GET", "/")

    assert script.left == 1


def test_faults_survive_the_way_through_json():
    faults = [Fault("throttle", retry_delay=0.8), Fault("cut", on="GET *alt=media*", after=7)]

    assert faults_from_json(json.dumps([fault_to_json(fault) for fault in faults])) == faults


@pytest.mark.parametrize("wrong", [{"kind": "explode"}, {"kind": "status", "times": 0}, {"kind": "cut", "after": -1}])
def test_a_fault_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"kind of fault|times is at least 1"):
        Fault(**wrong)
