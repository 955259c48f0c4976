from blueprint_proxy.demo.faults import Fault, fault_to_json
from blueprint_proxy.demo.story import chapters, total


def exchange(at, fault=None, target="/x", *, refused=False):
    return {"at": at, "target": target, "refused": refused, "fault": None if fault is None else fault_to_json(fault)}


def report(*exchanges, faults_left=0):
    attempts = sum(not one["refused"] for one in exchanges)
    return {"exchanges": exchanges, "attempts": attempts, "faults_left": faults_left}


def line(began, ended, error=None, upstream="gcs"):
    return {"upstream": upstream, "call": "a call", "began": began, "ended": ended, "error": error}


def test_an_exchange_belongs_to_the_call_during_which_it_came():
    reports = {"gcs": report(exchange(1.5, Fault("reset")), exchange(1.6), exchange(2.5))}

    first, second = chapters([{"calls": 2}, line(1, 2), line(2.1, 3)], reports)

    assert (first.attempts, first.faults, second.attempts, second.faults) == (2, (Fault("reset"),), 1, ())


def test_failures_before_a_success_were_hidden():
    reports = {"gcs": report(exchange(1, Fault("status", times=2)), exchange(2, Fault("status", times=2)), exchange(3))}
    story = chapters([line(0, 4)], reports)
    totals = total(story, reports.values(), keys_seen=0)

    assert story[0].upstream_side == "answered 503, 2 times"
    assert (totals.calls, totals.attempts, totals.hidden, totals.surfaced) == (1, 3, 2, 0)
    assert totals.as_wished


def test_a_failed_call_surfaced_its_last_failure():
    reports = {"gcs": report(exchange(1, Fault("status")), exchange(2, Fault("status")))}
    story = chapters([line(0, 4, error="ServiceUnavailable: 503")], reports)
    totals = total(story, reports.values(), keys_seen=0)

    assert story[0].job_side == "FAILED: ServiceUnavailable: 503"
    assert (totals.hidden, totals.surfaced) == (1, 1)
    assert not totals.as_wished


def test_a_cut_download_counts_as_resumed_by_the_sdk_and_cut_metadata_as_hidden():
    cut = Fault("cut", after=9)
    reports = {"gcs": report(exchange(1, cut, "/o/a?alt=media"), exchange(2), exchange(3, cut, "/o/a"), exchange(4))}
    story = chapters([line(0, 2.5), line(2.6, 5)], reports)
    totals = total(story, reports.values(), keys_seen=0)

    assert story[0].job_side.endswith("resumed by the SDK")
    assert (totals.hidden, totals.resumed) == (1, 1)


def test_a_key_seen_a_way_around_or_an_idle_fault_spoils_the_demo():
    for spoiled in (
        total([], [report()], keys_seen=1),
        total([], [report(exchange(1, refused=True))], keys_seen=0),
        total([], [report(faults_left=1)], keys_seen=0),
    ):
        assert not spoiled.as_wished
