import pytest

from blueprint_proxy.demo import run, show

pytestmark = pytest.mark.end_to_end


def test_the_demo_succeeds_and_says_what_went_wrong_upstream(capsys):
    code = run(keep=False)
    told = capsys.readouterr().out

    assert code == 0, told
    assert "body cut after 1000000 bytes" in told
    assert "ok after" in told
    assert "FAILED" not in told


def test_the_demo_fails_where_the_proxy_only_relays(capsys, monkeypatch):
    def only_relaying(*places):
        built = configuration(*places)
        return {**built, "upstreams": {name: {**one, "mode": "off"} for name, one in built["upstreams"].items()}}

    configuration = show._configuration
    monkeypatch.setattr(show, "_configuration", only_relaying)

    assert run(keep=False) == 1
    assert "The demo FAILED." in capsys.readouterr().out


def test_a_key_is_counted_wherever_the_job_could_have_kept_it(tmp_path):
    (tmp_path / "reply").write_bytes(b"\x00the-key\x00")
    places = ({"A": "x the-key y"}, [{"error": "the-key"}], [tmp_path / "reply"])

    assert show._count_key("the-key", *places) == 3
    assert show._count_key("another", *places) == 0
