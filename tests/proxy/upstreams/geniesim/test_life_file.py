import pytest

from blueprint_proxy.policies.simulator import Life
from blueprint_proxy.upstreams.geniesim.life_file import LifeFile

LIFE = Life("pid 7 started 100", 3, initialised=True)


def test_a_life_is_read_as_it_was_written(tmp_path):
    LifeFile(tmp_path / "state", "geniesim").write(LIFE)
    assert LifeFile(tmp_path / "state", "geniesim").read() == LIFE
    assert LifeFile(tmp_path / "state", "another").read() is None


def test_what_has_not_changed_is_not_written_again(tmp_path):
    file = LifeFile(tmp_path, "geniesim")
    file.write(LIFE)
    (tmp_path / "geniesim-geniesim.json").unlink()
    file.write(LIFE)
    assert list(tmp_path.iterdir()) == []
    file.write(LIFE._replace(epoch=4))
    assert LifeFile(tmp_path, "geniesim").read().epoch == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"identity": 1, "epoch": 1, "initialised": true}',
        '{"identity": "x", "epoch": 0, "initialised": null}',
    ],
)
def test_what_cannot_be_read_is_no_life(tmp_path, text):
    (tmp_path / "geniesim-geniesim.json").write_text(text)
    assert LifeFile(tmp_path, "geniesim").read() is None


def test_a_call_that_may_be_there_for_long_is_known_to_the_next_sidecar(tmp_path):
    file = LifeFile(tmp_path, "geniesim")
    file.busy(None)
    assert list(tmp_path.iterdir()) == []
    file.busy(1_700_000_000.5)
    assert LifeFile(tmp_path, "geniesim").busy_until() == 1_700_000_000.5
    file.busy(None)
    assert LifeFile(tmp_path, "geniesim").busy_until() == 0.0


def test_a_directory_that_cannot_be_written_is_a_problem_to_tell(tmp_path):
    (tmp_path / "file").write_text("")
    file = LifeFile(tmp_path / "file", "geniesim")
    file.write(LIFE)
    assert file.problem is not None
