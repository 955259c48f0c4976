from blueprint_proxy.policies.quarantine import REMEMBERED, Death, Quarantine


def test_one_death_may_be_chance():
    quarantine = Quarantine()
    assert not quarantine.record("run-a", "reset", b"x", Death(1, "killed"))
    assert quarantine.history("run-a", "reset", b"x") == ()


def test_a_call_that_killed_twice_is_quarantined_with_its_history():
    quarantine = Quarantine()
    quarantine.record("run-a", "reset", b"x", Death(1, "killed"))
    assert quarantine.record("run-a", "reset", b"x", Death(2, "hung for 60 s"))
    assert quarantine.history("run-a", "reset", b"x") == (Death(1, "killed"), Death(2, "hung for 60 s"))


def test_other_bytes_another_method_and_another_run_may_go():
    quarantine = Quarantine()
    for epoch in (1, 2):
        quarantine.record("run-a", "reset", b"x", Death(epoch, "killed"))
    for call in (("run-a", "reset", b"y"), ("run-a", "exit", b"x"), ("run-b", "reset", b"x")):
        assert quarantine.history(*call) == ()


def test_the_end_of_the_run_ends_its_quarantines():
    quarantine = Quarantine()
    for epoch in (1, 2):
        quarantine.record("run-a", "reset", b"x", Death(epoch, "killed"))
    quarantine.forget("run-a")
    assert quarantine.history("run-a", "reset", b"x") == ()


def test_what_is_remembered_has_a_bound():
    quarantine = Quarantine()
    quarantine.record("run-a", "reset", b"first", Death(1, "killed"))
    for number in range(REMEMBERED):
        quarantine.record("run-a", "reset", b"%d" % number, Death(1, "killed"))
    assert not quarantine.record("run-a", "reset", b"first", Death(2, "killed"))
